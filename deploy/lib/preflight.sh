# Looks before anything is changed: rights, room, ports, addresses. Changes nothing.
# Sourced, never run.
# shellcheck shell=bash

MIN_DISK_GIB=10
MIN_MEMORY_GIB=2

check_root() {
    ((EUID == 0)) || die 'it needs root: it installs Docker where there is none, and talks to it' 'run it with sudo.'
    [[ $(uname -m) == x86_64 ]] || die "this machine is $(uname -m); images and binaries are built for x86_64 only" 'use an x86_64 machine.'
    command -v apt-get >/dev/null || die 'there is no apt-get; quickstart installs from Debian packages' 'use Debian 12, or see docs/operations.md to install by hand.'
}

check_room() {
    local path free_gib memory_gib
    path=/var/lib
    free_gib=$(df --output=avail -B1G "$path" | tail -n 1 | tr -d ' ')
    ((free_gib >= MIN_DISK_GIB)) ||
        die "$path has $free_gib GiB free; $MIN_DISK_GIB are needed" 'make room, or put /var/lib on a larger disk.'
    check_disk_limit "$path"
    memory_gib=$(awk '/^MemTotal/ {printf "%d", ($2 + 262144) / 1048576}' /proc/meminfo)
    ((memory_gib >= MIN_MEMORY_GIB)) ||
        die "this machine has $memory_gib GiB of memory; $MIN_MEMORY_GIB are needed" 'use a larger machine.'
    ok "$free_gib GiB of disk and $memory_gib GiB of memory"
}

# The node agent would take no store, and the last step here would wait in vain. A host that is installed may well be that full: its stores go on.
check_disk_limit() { # PATH
    local used
    used=$(df --output=pcent "$1" | tail -n 1 | tr -dc '0-9')
    [[ $WITH_STORE == yes && -z $(state_get node_id) ]] && ((used >= DISK_LIMIT)) || return 0
    die "the disk of $1 is $used % full, and from $DISK_LIMIT % on a host takes no new stores" \
        "make room, or let it get fuller: --disk-limit $((used < 95 ? used + 4 : 99))"
}

# Every TCP port something listens on, one a line.
listening_ports() {
    local file
    for file in /proc/net/tcp /proc/net/tcp6; do
        [[ -r $file ]] || continue
        awk '$4 == "0A" {split($2, a, ":"); print a[length(a)]}' "$file"
    done | while read -r hex; do printf '%d\n' "0x$hex"; done | sort -un
}

port_taken() { grep -qx "$1" <<<"$2"; }

# Chooses the edge's ports once; a second run keeps them.
choose_ports() {
    local taken port
    EDGE_HTTP=$(state_get edge_http)
    EDGE_HTTPS=$(state_get edge_https)
    [[ -z $EDGE_HTTP ]] || return 0
    taken=$(listening_ports)
    # A run that was cut off may have left our own control plane listening.
    for port in 7440 7442 7443 7449; do
        [[ -n $(state_get root_pin) ]] || ! port_taken "$port" "$taken" ||
            die "port $port is taken by another program" "find it with: ss -ltnp 'sport = :$port'"
    done
    EDGE_HTTP=80 EDGE_HTTPS=443
    if port_taken 80 "$taken" || port_taken 443 "$taken"; then
        EDGE_HTTP=8080 EDGE_HTTPS=8443
        ! { port_taken 8080 "$taken" || port_taken 8443 "$taken"; } ||
            die 'ports 80/443 and 8080/8443 are taken' "free one pair; ss -ltnp shows who listens"
        warn 'port 80 or 443 is taken: shops are served on 8080 and 8443 instead'
    fi
    state_set edge_http "$EDGE_HTTP"
    state_set edge_https "$EDGE_HTTPS"
    ok "ports $EDGE_HTTP and $EDGE_HTTPS for shops, 7440, 7442, 7443 and 7449 for the control plane"
}

ipv4_number() {
    local IFS=. a b c d
    read -r a b c d <<<"$1"
    printf '%d' $(((a << 24) + (b << 16) + (c << 8) + d))
}

# overlaps NUMBER BITS NUMBER BITS
overlaps() {
    local bits=$2 mask
    (($4 < bits)) && bits=$4
    mask=$(((0xffffffff << (32 - bits)) & 0xffffffff))
    ((($1 & mask) == ($3 & mask)))
}

# Lines of "<interface> <network as number> <prefix length>" of the kernel's main table, default route left out.
host_routes() {
    local name dest mask rest bits value
    while read -r name dest _ _ _ _ _ mask rest; do
        [[ $name != Iface && $dest != 00000000 ]] || continue
        value=$((0x${mask:6:2}${mask:4:2}${mask:2:2}${mask:0:2}))
        for ((bits = 0; value & 0x80000000; bits++)); do value=$(((value << 1) & 0xffffffff)); done
        printf '%s %d %d\n' "$name" "$((0x${dest:6:2}${dest:4:2}${dest:2:2}${dest:0:2}))" "$bits"
    done </proc/net/route
}

check_pool() {
    local pool=$1 network bits name number length
    [[ $pool =~ ^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/([0-9]+)$ ]] || die "'$pool' is not a network such as 10.200.0.0/14" 'give --pool an IPv4 network.'
    network=$(ipv4_number "${pool%/*}")
    bits=${pool#*/}
    while read -r name number length; do
        [[ $name != sf* ]] || continue
        ! overlaps "$network" "$bits" "$number" "$length" ||
            die "the stores' addresses $pool overlap a route of this host through $name" 'choose another private network with --pool, for instance --pool 10.132.0.0/14.'
    done < <(host_routes)
    ok "no route of this host overlaps $pool"
}

say_how_long() {
    if [[ -n $(state_get control_plane_ready) ]]; then
        say 'Already installed here: checks everything, changes only what is not as it should be (a few seconds; minutes when sources changed).'
    elif [[ -n $BINS ]]; then
        say 'This takes about 5 minutes on two cores (images are made from Debian packages).'
    else
        say 'This takes about 12 minutes on two cores the first time (programs are compiled, images are made from Debian packages).'
    fi
}
