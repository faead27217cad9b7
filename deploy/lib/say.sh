# What deploy/quickstart tells the person in front of it: steps with elapsed time, refusals with a way out.
# Sourced, never run. Expects $LOG_DIR once steps are run.
# shellcheck shell=bash

CURRENT_STEP='starting'

on_terminal() { [[ -t 1 && -z ${NO_COLOR:-} ]]; }

bold() { if on_terminal; then printf '\033[1m%s\033[0m' "$1"; else printf '%s' "$1"; fi; }

say() { printf '%s\n' "$*"; }
note() { printf '  %s\n' "$*"; }
ok() { printf '  ok    %s\n' "$*"; }
same() { printf '  same  %s\n' "$*"; }
warn() { printf '  note  %s\n' "$*" >&2; }

# die WHAT-HAPPENED WHAT-TO-DO
die() {
    trap - INT TERM EXIT
    printf '\n%s\n' "quickstart stopped while $CURRENT_STEP: $1" >&2
    if [[ -n ${2:-} ]]; then printf '%s\n' "What to do: $2" >&2; fi
    exit 1
}

interrupted() {
    trap - INT TERM EXIT
    stop_child
    printf '\n%s\n' "Interrupted while $CURRENT_STEP." >&2
    printf '%s\n' 'What is done stays done: the same command goes on from here, `deploy/quickstart --down` takes everything away.' >&2
    exit 130
}

# The last word when a command failed that nobody asked about.
ended() {
    local status=$1
    ((status != 0)) || return 0
    printf '\n%s\n' "quickstart stopped while $CURRENT_STEP (status $status)." >&2
    printf '%s\n' 'What to do: read the lines above; the same command goes on from here.' >&2
}

CHILD=''
stop_child() {
    [[ -n $CHILD ]] || return 0
    # The step runs in its own process group, so that what it started ends with it.
    kill -TERM -- "-$CHILD" 2>/dev/null || true
    wait "$CHILD" 2>/dev/null || true
    CHILD=''
}

elapsed() {
    local seconds=$1
    if ((seconds >= 60)); then printf '%d min %02d s' $((seconds / 60)) $((seconds % 60)); else printf '%d s' "$seconds"; fi
}

# step LABEL COMMAND…: runs the command with its output in a log, shows that it goes on, and for how long.
step() {
    local label=$1 log started=$SECONDS status=0 told=0 now
    shift
    CURRENT_STEP=$label
    log=$LOG_DIR/$(tr -c 'a-z0-9\n' '-' <<<"${label,,}").log
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    CHILD=$!
    set +m
    while kill -0 "$CHILD" 2>/dev/null; do
        now=$((SECONDS - started))
        if on_terminal; then
            printf '\r\033[K  …     %s (%s)' "$label" "$(elapsed "$now")"
        elif ((now - told >= 30)); then
            told=$now
            printf '  …     %s (%s)\n' "$label" "$(elapsed "$now")"
        fi
        sleep 0.2
    done
    wait "$CHILD" || status=$?
    CHILD=''
    if on_terminal; then printf '\r\033[K'; fi
    if ((status != 0)); then
        printf '  FAIL  %s (%s)\n' "$label" "$(elapsed $((SECONDS - started)))" >&2
        tail -n 25 "$log" | sed 's/^/        /' >&2
        die "it failed (status $status); the whole log is $log" 'read the lines above, put right what they name, and run the same command again.'
    fi
    ok "$label ($(elapsed $((SECONDS - started))))"
    CURRENT_STEP='checking what is there'
}

# confirm QUESTION: yes by --yes, else asked on the terminal; without a terminal the answer is no.
confirm() {
    local answer
    [[ ${YES:-no} == yes ]] && return 0
    [[ -t 0 ]] || return 1
    read -r -p "$1 [y/N] " answer
    [[ $answer == [yY]* ]]
}
