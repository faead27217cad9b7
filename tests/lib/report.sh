# Counts, times and the last line of tests/run. Sourced, never run.
# shellcheck shell=bash

WORK=$(mktemp -d /tmp/shopfleet-tests.XXXXXX)
PASSED=0 FAILED=0
COUNTED=no COUNTS='' BESIDE=''
# The phase that is going on, what it says, and how many failures there were before it.
NOW='' LOG='' KNOWN=0
TIMES=()
STARTED=$SECONDS

say() { printf '\n=== %s\n' "$*"; }

# count PASSED FAILED: what a phase counts itself; a phase that counts nothing is one check.
count() {
    COUNTED=yes
    PASSED=$((PASSED + $1))
    FAILED=$((FAILED + $2))
    COUNTS=" ($1 passed, $2 failed)"
}

# phase NAME COMMAND…: one check that passes or fails as a whole. Where nobody watches, only one that fails is heard.
phase() { timed "$1" quietly "$(log_of "$1")" "${@:2}"; }

# aloud NAME COMMAND…: a phase that counts, or whose words are what it is for, and that sees to its own output.
aloud() { timed "$@"; }

timed() { # NAME COMMAND…
    local name=$1 started=$SECONDS
    shift
    begun "$name"
    say "$name"
    if "$@"; then ended "$name" 0; else ended "$name" 1; fi
    TIMES+=("$(printf '%5d s  %s%s' $((SECONDS - started)) "$name" "$COUNTS")")
}

begun() { # NAME
    NOW=$1 LOG=$(log_of "$1") KNOWN=${#FAILURES[@]}
    COUNTED=no COUNTS=''
}

# ended NAME STATUS
ended() {
    if (($2 != 0)); then
        printf '!!! %s failed\n' "$1"
        # Unless it told which of its tests did.
        if ((${#FAILURES[@]} == KNOWN)); then
            [[ $LIVE == yes ]] || ending "$LOG" 60 "$AT_ONCE"
            remember "$1" "$LOG"
        fi
    fi
    if [[ $COUNTED == yes ]]; then
        # One that ends badly without a failure in its count is one failure.
        if (($2 != 0)) && [[ $COUNTS == *' 0 failed)' ]]; then FAILED=$((FAILED + 1)); fi
    elif (($2 == 0)); then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
    fi
    NOW=''
}

# counted COMMAND…: a test runner; its own counts are added up.
counted() {
    local status=0 passed failed
    if [[ $LIVE == yes ]]; then
        "$@" 2>&1 | tee "$LOG" || status=$?
    else
        ("$@") >"$LOG" 2>&1 || status=$?
    fi
    read -r passed failed < <(count_results "$LOG")
    count "$passed" "$failed"
    remember_tests "$LOG"
    [[ $LIVE == yes ]] || ((${#FAILURES[@]} == KNOWN)) || ending "$LOG" 60 "$AT_ONCE"
    return "$status"
}

# beside NAME COMMAND…: a phase that goes on while others do; `joined` waits for it and shows what it said. One at a time.
beside() {
    BESIDE_NAME=$1 BESIDE_STARTED=$SECONDS
    shift
    say "$BESIDE_NAME: begins, and goes on beside what follows"
    # A group of its own, to end with everything in it when the run is cut off.
    set -m
    "$@" >"$(log_of "$BESIDE_NAME")" 2>&1 </dev/null &
    BESIDE=$!
    set +m
}

joined() {
    local status=0
    begun "$BESIDE_NAME"
    say "$BESIDE_NAME"
    wait "$BESIDE" || status=$?
    BESIDE=''
    if [[ $LIVE == yes ]]; then cat "$LOG"; fi
    ended "$BESIDE_NAME" "$status"
    TIMES+=("$(printf '%5d s  %s (beside others)' $((SECONDS - BESIDE_STARTED)) "$BESIDE_NAME")")
}

beside_down() { [[ -z $BESIDE ]] || kill -TERM -- "-$BESIDE" 2>/dev/null || true; }

# Reads libtest's and nextest's summaries.
count_results() {
    awk '
        { gsub(/\033\[[0-9;]*m/, "") }
        /^test result:/ { for (i = 1; i < NF; i++) { if ($(i + 1) == "passed;") passed += $i; if ($(i + 1) == "failed;") failed += $i } }
        /^ *Summary \[/ { for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) passed += $i; if ($(i + 1) ~ /^(failed|timed)/) failed += $i } }
        END { print passed + 0, failed + 0 }' "$1"
}

summary() {
    local slowest=12
    [[ $LIVE == yes ]] || slowest=5
    printf '\n'
    ((${#TIMES[@]} == 0)) || printf '%s\n' "${TIMES[@]}"
    slowest_stories "$slowest"
    second_tries
    what_failed
    printf '\nall that was said: %s\n' "${LOGS#"$REPO/"}"
    printf '\n%d passed, %d failed (%d min %02d s)\n' "$PASSED" "$FAILED" $(((SECONDS - STARTED) / 60)) $(((SECONDS - STARTED) % 60))
}

# cut_off STATUS: what was going on has failed.
cut_off() {
    stories_cut_off
    remember "${NOW:-tests/run} (cut off, status $1)" "$LOG"
}

# finish STATUS: cleans up whatever happened, then says the result. A run that was cut off never says that all is well.
finish() {
    local status=$1
    trap - EXIT
    set +e
    [[ -z $OUT ]] || exec >&"$OUT" 2>&1
    alive_down
    beside_down
    lanes_down
    machine_down
    if ((status != 0)); then
        FAILED=$((FAILED + 1))
        cut_off "$status"
    fi
    summary
    rm -rf "$WORK"
    ((FAILED == 0)) || exit 1
    exit 0
}
