#!/bin/sh
# Run once, when PostgreSQL's image makes a new database: an account that owns what Signpost keeps
# and can do nothing else, and one for the replica.
set -eu

psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres \
    --set=database_password="$DATABASE_PASSWORD" \
    --set=replication_password="$REPLICATION_PASSWORD" <<'SQL'
CREATE ROLE signpost LOGIN PASSWORD :'database_password';
CREATE DATABASE signpost OWNER signpost;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication_password';
SQL
echo "host replication replicator samenet scram-sha-256" >>"$PGDATA/pg_hba.conf"
