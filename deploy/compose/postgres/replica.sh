#!/bin/sh
# Copies the primary where there is no copy yet, then follows it. PGPASSWORD is the replicator's.
# A replica that lags by more than wal_keep_size is to be made anew: remove its volume.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # What a copy that was interrupted has left.
    find "$PGDATA" -mindepth 1 -delete 2>/dev/null || true
    pg_basebackup --host="$PRIMARY" --port="${PRIMARY_PORT:-5432}" --username=replicator \
        --pgdata="$PGDATA" --wal-method=stream --checkpoint=fast --write-recovery-conf
fi
unset PGPASSWORD
exec "$@"
