"""``make compose-env``: write ``.env`` with fresh secrets for docker-compose.yaml. An existing file is left alone."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

FERNET = ("AIRFLOW_FERNET_KEY",)
OTHERS = (
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_SECRET_KEY",
    "GRAFANA_ADMIN_PASSWORD",
    "MLFLOW_DB_PASSWORD",
    "MODEL_SERVER_TOKEN",
    "POSTGRES_PASSWORD",
    "S3_SECRET_KEY",
    "WINDSOCK_DB_PASSWORD",
)


def main(path: Path) -> int:
    values = {name: base64.urlsafe_b64encode(os.urandom(32)).decode() for name in FERNET}
    # Letters, digits, - and _ only: they stand in URLs and in JSON.
    values |= {name: secrets.token_urlsafe(24) for name in OTHERS}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.stderr.write(f"{path} is there already and stays as it is.\n")
        return 0
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in sorted(values.items()))
    sys.stdout.write(f"Wrote {path}. AIRFLOW_ADMIN_PASSWORD in it is the password of Airflow's user admin.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".env")))
