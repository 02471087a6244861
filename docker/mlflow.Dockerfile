# MLflow's server with the drivers that docker-compose.yaml needs.
FROM python:3.12-slim-bookworm

RUN pip install --no-cache-dir mlflow==3.17.2 boto3 psycopg2-binary \
    && useradd --create-home mlflow
USER mlflow
WORKDIR /home/mlflow
