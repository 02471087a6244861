"""``windsock demo``: the whole loop on a private Airflow."""
