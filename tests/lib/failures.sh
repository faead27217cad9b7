# What failed, and the end of what it said, where nobody watches: build servers keep only a part of a long output. Sourced, never run.
# shellcheck shell=bash

# What every phase, story and failed test said, in full. Stays after the run, until the next.
LOGS=$REPO/target/tests-run
# Whether everything is shown while it happens.
LIVE=no
[[ ! -t 1 || -n ${CI:-} ]] || LIVE=yes
# Characters that are printed of one failure when it happens, and of all failures, or the first few of them, at the end of the run.
AT_ONCE=1600 AT_THE_END=2400 FEW=6
FAILURES=() FAILURE_LOGS=()
OUT='' ALIVE=''

logs_begin() {
    rm -rf "$LOGS"
    mkdir -p "$LOGS/stories" "$LOGS/tests"
    if [[ $LIVE == yes ]]; then return; fi
    alive &
    ALIVE=$!
}

log_of() { printf '%s/%s.log' "$LOGS" "${1//[^A-Za-z0-9]/-}"; }

# A sign of life every few minutes: build servers end what says nothing.
alive() {
    while read -r -t 240 <> <(:) || kill -0 $$ 2>/dev/null; do
        printf '        (%d min)\n' $(((SECONDS - STARTED) / 60))
    done
}

alive_down() { [[ -z $ALIVE ]] || kill "$ALIVE" 2>/dev/null || true; }

# quietly LOG COMMAND…: in this shell, as what it sets is needed; live, or into the log.
quietly() {
    local log=$1 status=0
    shift
    if [[ $LIVE == yes ]]; then
        "$@" || status=$?
    else
        # Where the run speaks, for `finish`: a run that is cut off here ends with its output still in the log.
        exec {OUT}>&1
        "$@" >"$log" 2>&1 || status=$?
        exec {OUT}>&-
        OUT=''
    fi
    return "$status"
}

# remember WHAT LOG: that it failed, and where that is said.
remember() {
    FAILURES+=("$1")
    FAILURE_LOGS+=("$2")
}

# ending LOG LINES CHARACTERS: the end of what was said, within both. Lines are cut; stacks and what cargo and the harness add are left out.
ending() {
    [[ -r $1 ]] || return 0
    LC_ALL=C.UTF-8 sed -E -e 's/\x1b\[[0-9;]*[A-Za-z]//g' -e 's/\r$//' -e 's/.*\r//' -e 's/^(.{300}).+/\1…/' "$1" |
        awk -v lines="$2" -v characters="$3" '
            /^ *[Ss]tack backtrace:$/ { stack = 1; next }
            stack && /^ +([0-9]+: |at )/ { next }
            { stack = 0 }
            /^ *failures:$/ { names = 1; next }
            names && /^ *[a-z_0-9:]*$/ { next }
            { names = 0 }
            /^ *(|std(out|err) ───|(Compiling|Checking|Downloaded) .*)$/ { next }
            /^ *(running 1 test|note: Some details are omitted.*|test [^ ]+ \.\.\. FAILED|test result: FAILED\. 0 passed; 1 failed.*)$/ { next }
            { said[++last] = $0 }
            END {
                for (first = last; first > 0 && last - first < lines; first--) {
                    used += length(said[first]) + 1
                    if (first < last && used > characters) break
                }
                if (first > 0) print "…"
                for (first++; first <= last; first++) print said[first]
            }'
}

# The names of the tests that failed, from what nextest or libtest said.
failed_tests() { # LOG
    awk '
        /^ *Summary \[/ { over = 1 }
        over && /^ +[A-Z][-A-Z0-9+ ]* \[ *[>0-9.]+s\] / { sub(/^ +[A-Z][-A-Z0-9+ ]* \[ *[>0-9.]+s\] (\([^)]*\) )?/, ""); print }
        /^test .* \.\.\. FAILED$/ { sub(/^test /, ""); sub(/ \.\.\. FAILED$/, ""); print }' "$1" | sort -u
}

said_by_test() { # NAME LOG
    awk -v name="$1" '
        /^ *Summary \[/ { exit }
        /^ +[A-Z][-A-Z0-9+ ]* \[ *[>0-9.]+s\] / { found = substr($0, length($0) - length(name)) == " " name; next }
        /^---- .* ----$/ { found = index($0, "---- " name " ") == 1; next }
        /^(────|failures:)/ { found = 0 }
        found' "$2"
}

remember_tests() { # LOG
    local name log
    while read -r name; do
        log=$LOGS/tests/${name//[^A-Za-z0-9_:]/-}.log
        said_by_test "$name" "$1" >"$log"
        remember "test $name" "$log"
    done < <(failed_tests "$1")
}

what_failed() {
    local at few=${#FAILURES[@]}
    ((few > 0)) || return 0
    ((few < FEW)) || few=$FEW
    printf '\nwhat failed\n'
    for at in "${!FAILURES[@]}"; do
        printf '  %s\n' "${FAILURES[at]}"
        ((at >= few)) || ending "${FAILURE_LOGS[at]}" 15 $((AT_THE_END / few)) | sed 's/^/      /'
    done
    printf '\n'
    printf 'failed: %s\n' "${FAILURES[@]}"
}
