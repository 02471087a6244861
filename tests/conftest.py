"""What every test may use. Servers are in ``servers.py``, a private Airflow in ``airflow_home.py`` (in this process)
and ``airflow_server.py`` (a running one)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `servers` and test pipelines are importable; tests/ is no package

pytest_plugins = ["servers", "airflow_home", "airflow_server", "rest_lab", "object_servers"]
