# Counts, times and the last line of tests/run. Sourced, never run.
# shellcheck shell=bash

WORK=$(mktemp -d /tmp/shopfleet-tests.XXXXXX)
PASSED=0 FAILED=0
COUNTED=no COUNTS='' BESIDE=''
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

# phase NAME COMMAND…: one check that passes or fails as a whole, unless it counts.
phase() {
    local name=$1 started=$SECONDS
    shift
    say "$name"
    COUNTED=no COUNTS=''
    if "$@"; then ended "$name" 0; else ended "$name" 1; fi
    TIMES+=("$(printf '%5d s  %s%s' $((SECONDS - started)) "$name" "$COUNTS")")
}

# ended NAME STATUS
ended() {
    if (($2 != 0)); then printf '!!! %s failed\n' "$1"; fi
    if [[ $COUNTED == yes ]]; then
        # One that ends badly without a failure in its count is one failure.
        if (($2 != 0)) && [[ $COUNTS == *' 0 failed)' ]]; then FAILED=$((FAILED + 1)); fi
    elif (($2 == 0)); then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
    fi
}

# counted COMMAND…: a test runner; its own counts are added up.
counted() {
    local log=$WORK/counted.log status=0 passed failed
    "$@" 2>&1 | tee "$log" || status=$?
    read -r passed failed < <(count_results "$log")
    count "$passed" "$failed"
    return "$status"
}

# beside NAME COMMAND…: a phase that goes on while others do; `joined` waits for it and shows what it said. One at a time.
beside() {
    BESIDE_NAME=$1 BESIDE_STARTED=$SECONDS
    shift
    say "$BESIDE_NAME: begins, and goes on beside what follows"
    # A group of its own, to end with everything in it when the run is cut off.
    set -m
    "$@" >"$WORK/beside.log" 2>&1 </dev/null &
    BESIDE=$!
    set +m
}

joined() {
    local status=0
    say "$BESIDE_NAME"
    wait "$BESIDE" || status=$?
    BESIDE=''
    cat "$WORK/beside.log"
    COUNTED=no
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
    printf '\n'
    ((${#TIMES[@]} == 0)) || printf '%s\n' "${TIMES[@]}"
    slowest_stories 12
    printf '\n%d passed, %d failed (%d min %02d s)\n' "$PASSED" "$FAILED" $(((SECONDS - STARTED) / 60)) $(((SECONDS - STARTED) % 60))
}

# finish STATUS: cleans up whatever happened, then says the result. A run that was cut off never says that all is well.
finish() {
    local status=$1
    trap - EXIT
    set +e
    beside_down
    lanes_down
    machine_down
    ((status == 0)) || FAILED=$((FAILED + 1))
    summary
    rm -rf "$WORK"
    ((FAILED == 0)) || exit 1
    exit 0
}
