# The control plane: its volume, its network, its container, and the CLI's context for it.
# Sourced, never run.
# shellcheck shell=bash

CP_IMAGE=shopfleet/control-plane:1
CP_CONTAINER=shopfleet-control-plane
CP_NETWORK=shopfleet
CP_VOLUME=shopfleet-control-plane
CP_UID=65532
CP_WAIT_SECONDS=60
CONTEXT=quickstart
CLI_CONFIG=${SHOPFLEET_CONFIG_DIR:-$HOME/.config/shopfleet}
HANDOVER=$STATE_DIR/handover

plane_network() {
    docker network inspect "$CP_NETWORK" >/dev/null 2>&1 && return
    docker network create --label "$OURS=network" "$CP_NETWORK" >/dev/null
}

plane_volume() {
    docker volume inspect "$CP_VOLUME" >/dev/null 2>&1 && return
    docker volume create --label "$OURS=volume" "$CP_VOLUME" >/dev/null
}

# Inside its container it listens on every address; what is published of that is decided by plane_publish.
# The first token passes through a file that only root and the control plane's user can read, never through a log.
plane_init() {
    local advertise=()
    [[ -z $ADVERTISE ]] || advertise=(--advertise "$ADVERTISE")
    install -d -m 0700 -o "$CP_UID" -g "$CP_UID" "$HANDOVER"
    docker run --rm --name "$CP_CONTAINER-init" --network none --read-only --cap-drop ALL \
        --security-opt no-new-privileges:true \
        --mount "type=volume,src=$CP_VOLUME,dst=/var/lib/shopfleet" \
        --mount "type=bind,src=$HANDOVER,dst=/handover" \
        "$CP_IMAGE" init --data /var/lib/shopfleet --base-domain "$BASE_DOMAIN" "${advertise[@]}" \
        --listen-admin 0.0.0.0:7440 --listen-metrics 0.0.0.0:7449 \
        --token-file /handover/token
}

plane_publish() {
    local agents=127.0.0.1
    [[ -z $ADVERTISE ]] || agents=0.0.0.0
    printf '%s\n' --publish 127.0.0.1:7440:7440 --publish 127.0.0.1:7449:7449 \
        --publish "$agents:7442:7442" --publish "$agents:7443:7443"
}

plane_answers() { curl --silent --fail --max-time 2 --output /dev/null http://127.0.0.1:7449/readyz; }
plane_comes_up() { wait_until "$CP_WAIT_SECONDS" plane_answers; }

plane_run() {
    local publish
    mapfile -t publish < <(plane_publish)
    run_or_replace "$CP_CONTAINER" plane_comes_up "$CP_IMAGE" \
        --network "$CP_NETWORK" "${publish[@]}" \
        --read-only --tmpfs /tmp:size=16m,mode=1777 --cap-drop ALL --security-opt no-new-privileges:true \
        --memory 512m --pids-limit 256 \
        --mount "type=volume,src=$CP_VOLUME,dst=/var/lib/shopfleet" \
        -- serve --data /var/lib/shopfleet
}

# The fingerprint of the root's public key, as init printed it.
root_pin() { grep -oE 'sha256:[0-9a-f]{64}' "$1" | head -n 1; }

plane_ensure() {
    local log=$LOG_DIR/initialising-the-control-plane.log
    plane_network
    plane_volume
    if [[ -z $(state_get root_pin) ]]; then
        step 'initialising the control plane' plane_init
        [[ -n $(root_pin "$log") ]] || die "init printed no root pin; its output is $log" 'this is a bug of ours.'
        state_set root_pin "$(root_pin "$log")"
    else
        same 'control plane: initialised before'
    fi
    plane_run
    state_set control_plane_ready yes
}

cli() { "$CLI_PATH" --context "$CONTEXT" "$@"; }
cli_quiet() { cli "$@" >/dev/null 2>&1; }

context_ensure() {
    if cli_quiet status; then
        same "shopctl context '$CONTEXT'"
    else
        CURRENT_STEP='logging shopctl in'
        if [[ ! -s $HANDOVER/token ]]; then
            install -d -m 0700 -o "$CP_UID" -g "$CP_UID" "$HANDOVER"
            docker exec "$CP_CONTAINER" /control-plane token reset-admin --data /var/lib/shopfleet --token-file - >"$HANDOVER/token" ||
                die 'no admin token is left and none could be made' "see: docker logs $CP_CONTAINER"
        fi
        "$CLI_PATH" login https://127.0.0.1:7440 --name "$CONTEXT" --ca-pin "$(state_get root_pin)" --token-file "$HANDOVER/token" >/dev/null ||
            die 'shopctl could not log in' "see: docker logs $CP_CONTAINER"
        ok "shopctl is logged in (context '$CONTEXT')"
    fi
    rm -rf "$HANDOVER"
    if [[ $(state_get trust) == yes ]]; then
        same 'operator root and roster'
    else
        CURRENT_STEP='making the operator root'
        # A root that was here before belongs to the person, and survives --down.
        [[ -d $CLI_CONFIG/trust ]] || state_set made_trust yes
        cli trust init >"$LOG_DIR/trust.log" 2>&1 ||
            die "'shopctl trust init' failed; see $LOG_DIR/trust.log" 'read its last lines.'
        state_set trust yes
        ok "operator root and a roster of one (keep a copy of $CLI_CONFIG/trust)"
    fi
}
