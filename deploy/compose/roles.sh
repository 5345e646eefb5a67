#!/bin/sh
# Run once by Postgres' image, in an empty database: the role that the servers use.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v password="$(cat /run/secrets/app_password)" <<'SQL'
CREATE ROLE deputize_app LOGIN PASSWORD :'password';
SQL
