"""The code behind the example DAGs: plain functions and pipelines, importable and testable without Airflow."""
