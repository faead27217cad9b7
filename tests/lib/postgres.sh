# A PostgreSQL of our own for the conformance suite: temporary, on a Unix socket and a loopback port. Sourced, never run.
# shellcheck shell=bash

PG_BIN=/usr/lib/postgresql/15/bin
PG_PORT=54329
PG_DATA=''

as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }

postgres_up() {
    PG_DATA=$(mktemp -d /tmp/shopfleet-postgres.XXXXXX)
    chown postgres:postgres "$PG_DATA"
    (
        cd "$PG_DATA"
        as_postgres "$PG_BIN/initdb" -D "$PG_DATA/data" -U shopfleet --auth=trust >/dev/null
        # Nothing here outlives the machine, and a disk that stands still for some seconds is not what is tested.
        as_postgres "$PG_BIN/pg_ctl" -D "$PG_DATA/data" -l "$PG_DATA/log" -w -s \
            -o "-c fsync=off -c listen_addresses=127.0.0.1 -c port=$PG_PORT -c unix_socket_directories=$PG_DATA -c max_connections=200" start
        as_postgres "$PG_BIN/createdb" -h 127.0.0.1 -p "$PG_PORT" -U shopfleet shopfleet
    ) || return 1
    export SHOPFLEET_TEST_POSTGRES=postgres://shopfleet@127.0.0.1:$PG_PORT/shopfleet
}

postgres_down() {
    [[ -n $PG_DATA ]] || return 0
    (cd "$PG_DATA" && as_postgres "$PG_BIN/pg_ctl" -D "$PG_DATA/data" -m immediate -s stop) || true
    rm -rf "$PG_DATA"
    PG_DATA=''
}
