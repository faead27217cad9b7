# Counts, times and the last line of tests/run. Sourced, never run.
# shellcheck shell=bash

WORK=$(mktemp -d /tmp/shopfleet-tests.XXXXXX)
PASSED=0 FAILED=0
TIMES=()
STARTED=$SECONDS

say() { printf '\n=== %s\n' "$*"; }

# phase NAME COMMAND…: one check that passes or fails as a whole.
phase() {
    local name=$1 started=$SECONDS
    shift
    say "$name"
    if "$@"; then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
        printf '!!! %s failed\n' "$name"
    fi
    TIMES+=("$(printf '%5d s  %s' $((SECONDS - started)) "$name")")
}

# counted NAME COMMAND…: a test runner; its own counts are added up. One that ends badly without a count is one failure.
counted() {
    local name=$1 started=$SECONDS log=$WORK/counted.log status=0 passed failed
    shift
    say "$name"
    "$@" 2>&1 | tee "$log" || status=$?
    read -r passed failed < <(count_results "$log")
    if ((status != 0 && failed == 0)); then failed=1; fi
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
    TIMES+=("$(printf '%5d s  %s (%d passed, %d failed)' $((SECONDS - started)) "$name" "$passed" "$failed")")
}

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
    printf '\n%d passed, %d failed (%d min %02d s)\n' "$PASSED" "$FAILED" $(((SECONDS - STARTED) / 60)) $(((SECONDS - STARTED) % 60))
}

# finish STATUS: cleans up whatever happened, then says the result. A run that was cut off never says that all is well.
finish() {
    local status=$1
    trap - EXIT
    set +e
    machine_down
    rm -rf "$WORK"
    ((status == 0)) || FAILED=$((FAILED + 1))
    summary
    ((FAILED == 0)) || exit 1
    exit 0
}
