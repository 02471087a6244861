"""The calls of :class:`~windsock.provider.metadata.store.Metadata` over HTTP, for workers without database access.

There is no second API: what can be called is a table of the nouns' own methods (``methods``), and what travels is made
from their signatures and records (``codec``). ``client`` is the worker's side, ``service`` the API server's. Neither
knows Airflow: who calls is told to the service as a :class:`~.access.Caller`, and the client is handed its tokens.
"""
