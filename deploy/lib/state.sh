# What quickstart remembers between runs: one `key=value` a line, never evaluated. Secrets are not kept here.
# Sourced, never run.
# shellcheck shell=bash

STATE_DIR=/var/lib/shopfleet-quickstart
STATE_FILE=$STATE_DIR/state
STATE_FORMAT=1
LOG_DIR=$STATE_DIR/log

state_open() {
    local format
    install -d -m 0700 "$STATE_DIR" "$LOG_DIR"
    if [[ ! -f $STATE_FILE ]]; then
        printf 'format=%s\n' "$STATE_FORMAT" >"$STATE_FILE"
        return
    fi
    format=$(state_get format)
    if ((${format:-0} > STATE_FORMAT)); then
        die "$STATE_FILE was written by a newer quickstart (format $format)" 'use the newer checkout.'
    fi
}

state_get() {
    [[ -f $STATE_FILE ]] || return 0
    sed -n "s/^$1=//p" "$STATE_FILE" | tail -n 1
}

state_set() {
    local key=$1 value=$2
    if [[ $(state_get "$key") == "$value" ]]; then return; fi
    { grep -v "^$key=" "$STATE_FILE" || true; printf '%s=%s\n' "$key" "$value"; } >"$STATE_FILE.new"
    mv "$STATE_FILE.new" "$STATE_FILE"
}
