#!/usr/bin/env bash
# Run by the postgres image when its volume is new: three databases, each with an owner of its own.
set -euo pipefail

for name in ${DATABASES:-airflow windsock mlflow}; do
  variable="${name^^}_DB_PASSWORD"
  psql --username="${POSTGRES_USER:-postgres}" --set=ON_ERROR_STOP=1 --set=name="$name" --set=password="${!variable}" <<'END'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
END
done
