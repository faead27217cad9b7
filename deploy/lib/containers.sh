# Our two containers, by one rule: what a container was made from is a label; when that differs it is replaced
# in place, and the old one is kept until the new one is well.
# Sourced, never run.
# shellcheck shell=bash

OURS=shopfleet.quickstart

container_exists() { docker container inspect "$1" >/dev/null 2>&1; }
container_runs() { [[ $(docker container inspect --format '{{.State.Running}}' "$1" 2>/dev/null) == true ]]; }
image_id() { docker image inspect --format '{{.Id}}' "$1"; }

# fingerprint IMAGE ARGUMENT…: what a container is made from, in short.
fingerprint() {
    local image=$1
    shift
    { image_id "$image"; printf '%s\0' "$@"; } | sha256sum | cut -c1-32
}

fingerprint_of() { docker container inspect --format "{{index .Config.Labels \"$OURS\"}}" "$1" 2>/dev/null || true; }

# A container of that name that is not ours is somebody else's: never touched.
refuse_foreign() {
    ! container_exists "$1" || [[ -n $(fingerprint_of "$1") ]] ||
        die "there is a container called $1 that quickstart did not make" "rename it: docker rename $1 something-else"
}

# run_or_replace NAME CHECK IMAGE ARGUMENT…: arguments are those of `docker run`, then `--`, then the command.
run_or_replace() {
    local name=$1 check=$2 image=$3 print options=() command=()
    shift 3
    print=$(fingerprint "$image" "$@")
    while (($#)) && [[ $1 != -- ]]; do options+=("$1"); shift; done
    [[ ${1:-} != -- ]] || shift
    command=("$@")
    refuse_foreign "$name"
    recover_half_replaced "$name"
    if [[ $(fingerprint_of "$name") == "$print" ]]; then
        if container_runs "$name"; then
            same "container $name"
            return
        fi
        docker start "$name" >/dev/null
        "$check" || die "$name does not come up" "see: docker logs $name"
        ok "container $name was stopped; started it"
        return
    fi
    if container_exists "$name"; then replace "$name" "$check" "$print"; else create "$name" "$check" "$print"; fi
}

launch() {
    docker run --detach --name "$1" --label "$OURS=$2" --restart unless-stopped \
        --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 \
        "${options[@]}" "$image" "${command[@]}" >/dev/null
}

create() {
    local name=$1 check=$2 print=$3
    CURRENT_STEP="starting $name"
    launch "$name" "$print" || die "Docker did not start $name" 'read the line above.'
    "$check" || die "$name does not come up" "see: docker logs $name"
    ok "container $name"
}

# A run that was cut off between the rename and the end leaves NAME-old: put it back before anything else.
recover_half_replaced() {
    container_exists "$1-old" || return 0
    if container_exists "$1"; then docker rm --force "$1" >/dev/null; fi
    docker rename "$1-old" "$1"
}

replace() {
    local name=$1 check=$2 print=$3
    CURRENT_STEP="replacing $name"
    docker stop --time 15 "$name" >/dev/null
    docker rename "$name" "$name-old"
    if launch "$name" "$print" && "$check"; then
        docker rm "$name-old" >/dev/null
        ok "container $name replaced by the new version; stores went on serving"
        return
    fi
    docker logs --tail 20 "$name" >&2 || true
    docker rm --force "$name" >/dev/null 2>&1 || true
    docker rename "$name-old" "$name"
    docker start "$name" >/dev/null
    die "the new version of $name did not come up; the old one runs again" 'its last log lines are above.'
}

# wait_until SECONDS COMMAND…
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}
