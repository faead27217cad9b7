# Takes away everything quickstart and the stores brought, and nothing else. May be run again after any failure.
# Sourced, never run.
# shellcheck shell=bash

# The ids of nodes whose state lies in our place: this host's, and those of half-removed installations.
# Nodes with another --state-dir belong to somebody else, even on the same Docker.
local_nodes() {
    {
        state_get node_id
        find "$NODE_STATE" -mindepth 2 -maxdepth 2 -name node.json -printf '%h\n' 2>/dev/null | xargs -r -n 1 basename
    } | grep -E '^[a-z][a-z0-9]{5}$' | sort -u
}

# Orders of a store, counted by its own code in its own container; empty when it does not run or keeps none.
orders_of() {
    local id=$1 container
    container=$(docker ps --filter "label=shopfleet.store=$id" --filter label=shopfleet.service=php-fpm --quiet | head -n 1)
    [[ -n $container ]] || return 0
    timeout 20 docker exec "$container" bin/shop orders 2>/dev/null | sed -nE 's/^([0-9]+) orders.*/\1/p' || true
}

stores_here() {
    local node
    for node in $(local_nodes); do
        docker ps --all --filter "label=shopfleet.node=$node" --format '{{.Label "shopfleet.store"}}'
    done | sort -u | grep . || true
}

# name_of ID LINES: the name in lines of "<id> <name>", else the id itself.
name_of() { awk -v id="$1" '$1 == id {print $2; found = 1} END {if (!found) print id}' <<<"$2"; }

# Says what would be lost, and asks.
down_confirm() {
    local id orders stores=0 with=0 names
    names=$(cli store list -o json 2>/dev/null | jq -r '.[] | "\(.id) \(.name)"' 2>/dev/null || true)
    while read -r id; do
        [[ -n $id ]] || continue
        stores=$((stores + 1))
        orders=$(orders_of "$id")
        if [[ -z $orders ]]; then
            say "  store $(name_of "$id" "$names"): its orders could not be counted"
        elif ((orders > 0)); then
            with=$((with + 1))
            say "  store $(name_of "$id" "$names"): $orders orders"
        fi
    done < <(stores_here)
    say "$stores stores are here, $with of them with orders. Their databases and pictures will be gone for good."
    confirm 'Remove everything?' || die 'nothing was removed' 'say yes at the question, or give --yes.'
}

remove_containers() {
    local filter=$1 ids
    mapfile -t ids < <(docker ps --all --quiet --filter "$filter")
    ((${#ids[@]} == 0)) || docker rm --force --volumes "${ids[@]}" >/dev/null
}

# The node agent's own way first; then whatever is left of it, for instance when its image or state is gone.
down_agent() {
    if container_exists "$NODE_CONTAINER" && [[ -n $(fingerprint_of "$NODE_CONTAINER") ]]; then
        docker rm --force "$NODE_CONTAINER" >/dev/null
    fi
    docker image inspect "$NODE_IMAGE" >/dev/null 2>&1 && [[ -d $NODE_STATE ]] || return 0
    node_leave >"$LOG_DIR/leave.log" 2>&1 || warn "the node agent could not clean up after itself ($LOG_DIR/leave.log); doing it from outside"
}

down_node() {
    local node=$1 ids
    remove_containers "label=shopfleet.node=$node"
    remove_containers "name=^/sf-$node-"
    mapfile -t ids < <(docker network ls --quiet --filter "name=^sf-$node-")
    ((${#ids[@]} == 0)) || docker network rm "${ids[@]}" >/dev/null
    mapfile -t ids < <(docker volume ls --quiet --filter "name=^sf-$node-")
    ((${#ids[@]} == 0)) || docker volume rm "${ids[@]}" >/dev/null
    for table in "shopfleet_$node" "shopfleet_${node}_doors" "shopfleet_${node}_flows"; do
        if nft list table inet "$table" >/dev/null 2>&1; then nft delete table inet "$table"; fi
    done
    rm -rf "${NODE_STATE:?}/$node" "${NODE_RUN:?}/$node"
    ok "node $node with its stores, networks, volumes and firewall table"
}

down_plane() {
    local name
    for name in "$NODE_CONTAINER" "$NODE_CONTAINER-old" "$CP_CONTAINER" "$CP_CONTAINER-old" "$CP_CONTAINER-init"; do
        if [[ -n $(fingerprint_of "$name") || $name == *-init ]] && container_exists "$name"; then
            docker rm --force "$name" >/dev/null
        fi
    done
    if docker network inspect "$CP_NETWORK" >/dev/null 2>&1; then docker network rm "$CP_NETWORK" >/dev/null; fi
    if docker volume inspect "$CP_VOLUME" >/dev/null 2>&1; then docker volume rm "$CP_VOLUME" >/dev/null; fi
    ok 'control plane with its volume and network'
}

down_images() {
    local tags
    if [[ $KEEP_IMAGES == yes ]]; then
        note 'images are kept (--keep-images)'
        return
    fi
    mapfile -t tags < <(docker images --filter 'reference=shopfleet/*' --format '{{.Repository}}:{{.Tag}}')
    ((${#tags[@]} == 0)) || docker rmi --force "${tags[@]}" >/dev/null
    ok "${#tags[@]} image tags"
}

down_cli() {
    if [[ -x $CLI_PATH && $(state_get installed_cli) == yes ]]; then
        "$CLI_PATH" context remove "$CONTEXT" >/dev/null 2>&1 || true
        if [[ $("$CLI_PATH" context list -o json 2>/dev/null) == '[]' ]]; then rm -f "$CLI_CONFIG/contexts.toml"; fi
        rm -f "$CLI_PATH"
        ok 'shopctl and its context'
    fi
    if [[ $(state_get made_trust) == yes ]]; then rm -rf "$CLI_CONFIG/trust"; fi
    rmdir "$CLI_CONFIG" 2>/dev/null || true
}

down_docker() {
    local pid
    if [[ $(state_get started_dockerd) == yes && -s $DOCKERD_PID_FILE && -z $(docker ps --all --quiet) ]]; then
        pid=$(<"$DOCKERD_PID_FILE")
        kill "$pid" 2>/dev/null || true
        ok 'the dockerd that quickstart had started'
    fi
    if [[ $(state_get installed_docker) == yes ]]; then
        note 'the packages docker.io and nftables stay; remove them with: apt-get remove docker.io nftables'
    fi
}

down() {
    local node nodes
    if docker_answers; then
        down_confirm
        nodes=$(local_nodes)
        CURRENT_STEP='taking the node away'
        down_agent
        for node in $nodes; do
            CURRENT_STEP="removing node $node"
            down_node "$node"
        done
        CURRENT_STEP='removing the control plane'
        down_plane
        CURRENT_STEP='removing images'
        down_images
        down_docker
    else
        warn 'Docker does not answer: containers, networks, volumes and images are left as they are; run --down again when it does'
    fi
    CURRENT_STEP='removing files'
    down_cli
    # Made by node.sh where /run is a disk; what is not ours there would go with it.
    if mountpoint --quiet "$NODE_RUN" && [[ -z $(find "$NODE_RUN" -mindepth 1 -print -quit) ]]; then umount "$NODE_RUN"; fi
    rmdir "$NODE_STATE" "$NODE_RUN" 2>/dev/null || warn "$NODE_STATE or $NODE_RUN holds something that is not ours, and stays"
    rm -rf "$STATE_DIR"
    say 'Gone.'
}
