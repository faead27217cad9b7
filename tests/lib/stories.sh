# Runs the stories of the installed system, as many beside each other as they bear, each in a process of its own. Sourced, never run.
# shellcheck shell=bash

STORIES=$WORK/stories
LANES=()

# What a story bears beside it. Stories mostly wait, and two cores bear three that wait; where requests or seconds are counted, what runs
# beside would be counted, too.
#   together  on the installed system, with stores of its own; touches nothing that others use and counts nothing: three at a time
#   here      stops, kills, moves or counts parts of the installed system: one at a time
#   apart     on a Docker and a control plane of its own: two at a time, beside one that is `here`
#   alone     no request may fail, or something happens within seconds; or it is a story that nobody has thought about here
class_of() {
    case $1 in
        bad_input::* | browser::* | clients::* | tasks::* | explain::what_keeps_* | update::a_release_that_never_gets_ready_*) echo together ;;
        bad_days::* | docker_kills::* | engine_faults::* | uplink::*) echo apart ;;
        quickstart::a_second_run_*) echo alone ;;
        buyers::* | connections::* | drift::* | explain::* | hostile::* | isolation::* | lifecycle::* | load::* | quickstart::* | second_node::*) echo here ;;
        kills::provisioning_* | update_kills::a_deletion_*) echo here ;;
        *) echo alone ;;
    esac
}

# Those that take longest; they begin first, so that no lane is left with one at the end.
LONGEST='never_gets_ready|volume|the_schedule|what_keeps|one_store_changes|errs_hangs|on_postgresql|full_disk|lost_answers'

stories() {
    local program name
    # From where cargo would run it.
    if [[ $LIVE == yes ]]; then program=$(story_program); else program=$(story_program 2>"$LOG"); fi || return 1
    mkdir "$STORIES"
    (cd tests && "$program" --list --format terse) | sed -n 's/: test$//p' >"$STORIES/all"
    : >"$STORIES/told"
    { grep -E "$LONGEST" "$STORIES/all"; grep -vE "$LONGEST" "$STORIES/all"; } | while read -r name; do
        printf '%s\n' "$name" >>"$STORIES/$(class_of "$name")"
    done
    printf '%d stories\n' "$(wc -l <"$STORIES/all")"
    lanes together together together
    lanes here apart apart
    lanes alone
    once_more
    tell_count
}

# A machine has accidents. So many failed stories are told once more, alone: one that passes then counts as passed, and is named at the end of
# the run with what it said at first kept beside. More of them are no accident.
ACCIDENTS=2

once_more() {
    local name
    not_ok >"$STORIES/again"
    if (($(wc -l <"$STORIES/again") > ACCIDENTS)); then return; fi
    while read -r name; do
        mv "$LOGS/stories/$name.log" "$LOGS/stories/$name.first.log" 2>/dev/null || continue
        printf '%s\n' "$name" >>"$STORIES/alone"
    done <"$STORIES/again"
    lanes alone
    grep -vxFf <(not_ok) "$STORIES/again" >"$STORIES/second" || true
}

# Stories that never passed, or were never told.
not_ok() { grep -vxFf <(sed -n 's/^[0-9]* ok //p' "$STORIES/told") "$STORIES/all" || true; }

second_tries() {
    [[ -s $STORIES/second ]] || return 0
    printf '\npassed at the second try only\n'
    while read -r name; do
        printf '  %s\n' "$name"
        ending "$LOGS/stories/$name.first.log" 15 1500 | sed 's/^/      /'
    done <"$STORIES/second"
}

story_program() {
    cargo test "${CARGO[@]}" -p shop-tests --features system --test system --no-run --message-format json-render-diagnostics |
        jq --raw-output 'select(.target.name? == "system") | .executable // empty'
}

# lanes CLASS…: one lane for each, until all have ended. A story's lane is where on this machine it may put things (tests/src/lane.rs).
lanes() {
    local class pid
    LANES=()
    # A group of its own for each, to end with everything in it when the run is cut off.
    set -m
    for class in "$@"; do
        lane "$class" "${#LANES[@]}" &
        LANES+=($!)
    done
    set +m
    for pid in "${LANES[@]}"; do wait "$pid" || true; done
    LANES=()
}

lanes_down() {
    local pid
    for pid in "${LANES[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
}

# Most stories that fail wait for minutes first. After so many, the rest would only say the same again, and the run would not end in time.
ENOUGH=8

# lane CLASS NUMBER: tells one after the other, as long as there are any left and it is not all in vain.
lane() {
    local name
    while name=$(next_of "$1"); do
        if (($(grep -c ' FAILED ' "$STORIES/told") >= ENOUGH)); then
            printf '%d stories have failed: the rest is not told\n' "$ENOUGH"
            return
        fi
        tell "$name" "$2"
    done
}

next_of() {
    {
        flock 9
        read -r name 2>/dev/null <"$STORIES/$1" || return 1
        sed -i 1d "$STORIES/$1"
        printf '%s\n' "$name"
    } 9>>"$STORIES/lock"
}

tell() {
    local name=$1 lane=$2 log=$LOGS/stories/$1.log result=FAILED began=$SECONDS took
    (cd tests && SHOPFLEET_TEST_LANE=$lane exec "$program" --exact "$name" --nocapture) >"$log" 2>&1 </dev/null || true
    if grep -q '^test result: ok\. 1 passed' "$log"; then result=ok; fi
    took=$((SECONDS - began))
    {
        flock 9
        printf '%5d s  %-6s  %s\n' "$took" "$result" "$name"
        said "$result" "$log" | sed 's/^/           /'
        printf '%d %s %s\n' "$took" "$result" "$name" >>"$STORIES/told"
    } 9>>"$STORIES/lock"
}

# What is shown of what a story said, in one piece when it has ended: all of it when it failed, else without what the harness adds and
# without repetitions. Where nobody watches, only the end of what failed, and of the third and later ones hardly that.
said() { # RESULT LOG
    if [[ $LIVE == no ]]; then
        if [[ $1 == ok ]]; then return; fi
        if (($(grep -c ' FAILED ' "$STORIES/told") < 2)); then ending "$2" 40 "$AT_ONCE"; else ending "$2" 5 500; fi
    elif [[ $1 != ok ]]; then
        cat "$2"
    else
        sed -E -e 's/^test [a-z_]+::[a-z_0-9]+ \.\.\. //' -e '/^(ok|running 1 test|test result: .*|forwarding to .*|Try: curl .*|test .* has been running for over 60 seconds|)$/d' "$2" |
            awk '!seen[$0]++'
    fi
}

# Every story counts: one that was never told has failed.
tell_count() {
    local all failed name
    all=$(wc -l <"$STORIES/all")
    failed=$(not_ok | tee "$STORIES/failed" | wc -l)
    while read -r name; do
        printf 'failed: %s\n' "$name"
        remember "story $name" "$LOGS/stories/$name.log"
    done <"$STORIES/failed"
    count $((all - failed)) "$failed"
    ((all > 0 && failed == 0))
}

# The failures of stories that were never counted, and which stories were going on.
stories_cut_off() {
    local log name
    if [[ ! -e $STORIES/told || -e $STORIES/failed ]]; then return; fi
    for log in "$LOGS"/stories/*.log; do
        name=$(basename "$log" .log)
        if [[ ! -e $log || $name == *.first ]]; then continue; fi
        if grep -q " ok $name\$" "$STORIES/told"; then continue; fi
        if grep -q " FAILED $name\$" "$STORIES/told"; then
            remember "story $name" "$log"
        else
            remember "story $name (cut off)" "$log"
        fi
    done
}

slowest_stories() { # HOW MANY
    [[ -s $STORIES/told ]] || return 0
    printf '\nthe slowest of %d stories; they run beside each other\n' "$(cut -d' ' -f3 "$STORIES/told" | sort -u | wc -l)"
    sort -rn "$STORIES/told" | head -n "$1" | while read -r took _ name; do printf '%5d s  %s\n' "$took" "$name"; done
}
