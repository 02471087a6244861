"""What every test may use. Fixtures that start servers are in ``servers.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `servers` and test pipelines are importable; tests/ is no package

pytest_plugins = ["servers"]
