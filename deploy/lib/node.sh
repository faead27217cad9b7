# This host as a node: one node agent in a container on the host network, with what it needs and no more.
# Sourced, never run.
# shellcheck shell=bash

NODE_IMAGE=shopfleet/node-agent:1
AGENT_IMAGE=shopfleet/shop-agent:1
NODE_CONTAINER=shopfleet-node
NODE_STATE=/var/lib/shopfleet
NODE_RUN=/run/shopfleet
NODE_WAIT_SECONDS=90

docker_socket() {
    local host=${DOCKER_HOST:-unix:///var/run/docker.sock}
    [[ $host == unix://* ]] || die "DOCKER_HOST is $host; the node agent needs a Unix socket" 'unset DOCKER_HOST.'
    readlink -f "${host#unix://}"
}

this_node() { cli node list -o json | jq -r --arg name "$(hostname)" '.[] | select(.name == $name and (.status == "ready" or .status == "disk_pressure")) | .id' | head -n 1; }
node_is_ready() { [[ -n $(this_node 2>/dev/null) ]]; }
node_comes_up() { wait_until "$NODE_WAIT_SECONDS" node_is_ready; }

# The join token is used once and lives in a file that only root reads. What else the node is told is remembered.
join_token() {
    local join
    [[ -z $(state_get node_id) ]] || return 0
    # One left by a run that was cut off may have expired since.
    rm -f "$NODE_STATE/join-token"
    join=$(cli node join --token-file "$NODE_STATE/join-token" -o json) ||
        die 'no join token could be made' 'see: shopctl status'
    state_set operator_root "$(jq -r '.operator_root_pin // empty' <<<"$join")"
}

# What the agent's container may: CHOWN, DAC_OVERRIDE and FOWNER, because volumes and sockets belong to the stores'
# users; NET_ADMIN for the firewall table; the host's processes and KILL, because a Docker that was killed forgets containers
# that it was starting, and nobody else would end them. One option a line.
node_rights() {
    local socket
    socket=$(docker_socket)
    printf '%s\n' --network host --pid host --read-only --tmpfs /tmp:size=16m,mode=1777 \
        --cap-drop ALL --cap-add NET_ADMIN --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER --cap-add KILL \
        --security-opt no-new-privileges:true --memory 256m --pids-limit 256 \
        --mount "type=bind,src=$socket,dst=/var/run/docker.sock" \
        --mount "type=bind,src=$NODE_STATE,dst=$NODE_STATE" \
        --volume "$NODE_RUN:$NODE_RUN"
    # The resolvers that Docker gives to containers where the host's own names a local one only.
    [[ ! -d /run/systemd/resolve ]] || printf '%s\n' --mount type=bind,src=/run/systemd/resolve,dst=/run/systemd/resolve,readonly
}

node_run() {
    local rights
    mapfile -t rights < <(node_rights)
    # The node agent runs the shop agents' image: when only that one is new, it must look again.
    rights+=(--label "shopfleet.agent-image=$(image_id "$AGENT_IMAGE")")
    run_or_replace "$NODE_CONTAINER" node_comes_up "$NODE_IMAGE" "${rights[@]}" \
        -- node --name "$(hostname)" --join-token-file "$NODE_STATE/join-token" \
        --enroll 127.0.0.1:7442 --agents 127.0.0.1:7443 --operator-root "$(state_get operator_root)" \
        --state-dir "$NODE_STATE" --run-dir "$NODE_RUN" --docker /var/run/docker.sock \
        --pool "$POOL" --edge-http "$EDGE_HTTP" --edge-https "$EDGE_HTTPS" --disk-limit "$DISK_LIMIT"
}

# The agent's own way of going: services in order, then networks, volumes, its firewall table, its directories.
node_leave() {
    local rights
    mapfile -t rights < <(node_rights)
    docker run --rm --name "$NODE_CONTAINER-leave" "${rights[@]}" "$NODE_IMAGE" node --leave \
        --state-dir "$NODE_STATE" --run-dir "$NODE_RUN" --docker /var/run/docker.sock
}

# What lies there goes with the next boot anyway: sockets, what the edge is told, its access log. On a disk, a line of that log may wait for
# whatever else is being written through, and the buyer with it.
run_in_memory() {
    install -d -m 0711 "$NODE_RUN"
    [[ $(stat --file-system --format %T "$NODE_RUN") != tmpfs ]] || return 0
    # What serves from there already stays where it is, until the host starts anew.
    [[ -z $(find "$NODE_RUN" -mindepth 1 -print -quit) ]] || return 0
    mount -t tmpfs -o mode=0711,size=256m,nosuid,nodev,noexec shopfleet "$NODE_RUN"
}

node_ensure() {
    install -d -m 0711 "$NODE_STATE"
    run_in_memory
    join_token
    node_run
    node_comes_up || die 'the node does not report to the control plane' "see: docker logs $NODE_CONTAINER"
    state_set node_id "$(this_node)"
    [[ $(cli node list -o json | jq -r --arg id "$(this_node)" '.[] | select(.id == $id) | .status') != disk_pressure ]] ||
        warn "the disk of this host is more than $DISK_LIMIT % full: no store is made here until there is room"
    rm -f "$NODE_STATE/join-token"
}
