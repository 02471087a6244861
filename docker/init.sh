#!/usr/bin/env bash
# Runs once before Airflow starts (docker-compose.yaml, service airflow-init); safe to repeat.
set -euo pipefail

airflow db migrate
windsock db upgrade

umask 077
python - <<'END'
import json
import os
from pathlib import Path

from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

store = Stack.load().artifact_store
s3, bucket = store.connect(), store.config.bucket
if not s3.exists(bucket):
    # s3fs's own mkdir names the region, and no S3 accepts us-east-1 there.
    s3.call_s3("create_bucket", Bucket=bucket)

home = Settings.load().home
passwords = home / "passwords.json"  # where Airflow's simple auth manager looks
passwords.write_text(json.dumps({"admin": os.environ["AIRFLOW_ADMIN_PASSWORD"]}), encoding="utf-8")
for folder in ("data/landing", "sheets"):
    Path(home, folder).mkdir(parents=True, exist_ok=True)
END
