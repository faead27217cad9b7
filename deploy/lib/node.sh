# This host as a node: one node agent in a container on the host network, with what it needs and no more.
# Sourced, never run.
# shellcheck shell=bash

NODE_IMAGE=shopfleet/node-agent:1
NODE_CONTAINER=shopfleet-node
NODE_STATE=/var/lib/shopfleet
NODE_RUN=/run/shopfleet
NODE_WAIT_SECONDS=90

docker_socket() {
    local host=${DOCKER_HOST:-unix:///var/run/docker.sock}
    [[ $host == unix://* ]] || die "DOCKER_HOST is $host; the node agent needs a Unix socket" 'unset DOCKER_HOST.'
    readlink -f "${host#unix://}"
}

node_ids() { cli node list -o json | jq -r '.[] | select(.status == "ready") | .id'; }
this_node() { cli node list -o json | jq -r --arg name "$(hostname)" '.[] | select(.name == $name and .status == "ready") | .id' | head -n 1; }
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

# CHOWN, DAC_OVERRIDE, FOWNER: volumes and sockets belong to the stores' users. NET_ADMIN: the firewall table.
node_run() {
    local socket
    socket=$(docker_socket)
    run_or_replace "$NODE_CONTAINER" node_comes_up "$NODE_IMAGE" \
        --network host --read-only --tmpfs /tmp:size=16m,mode=1777 \
        --cap-drop ALL --cap-add NET_ADMIN --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER \
        --security-opt no-new-privileges:true --memory 256m --pids-limit 256 \
        --mount "type=bind,src=$socket,dst=/var/run/docker.sock" \
        --mount "type=bind,src=$NODE_STATE,dst=$NODE_STATE" \
        --volume "$NODE_RUN:$NODE_RUN" \
        -- node --name "$(hostname)" --join-token-file "$NODE_STATE/join-token" \
        --enroll 127.0.0.1:7442 --agents 127.0.0.1:7443 --operator-root "$(state_get operator_root)" \
        --state-dir "$NODE_STATE" --run-dir "$NODE_RUN" --docker /var/run/docker.sock \
        --pool "$POOL" --edge-http "$EDGE_HTTP" --edge-https "$EDGE_HTTPS"
}

node_ensure() {
    install -d -m 0711 "$NODE_STATE" "$NODE_RUN"
    join_token
    node_run
    node_comes_up || die 'the node does not report to the control plane' "see: docker logs $NODE_CONTAINER"
    state_set node_id "$(this_node)"
    rm -f "$NODE_STATE/join-token"
}
