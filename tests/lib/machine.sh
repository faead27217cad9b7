# What the tests need of a Debian machine, and taking back what they brought to it. Sourced, never run.
# shellcheck shell=bash

QUICKSTART_STATE=/var/lib/shopfleet-quickstart
INSTALLED_BY_US=no
IMAGES_WERE_HERE=no
DOCKERD_BY_US=''
export SHOPFLEET_BROWSER_DIR=$REPO/tests/browser

refuse_installed() {
    ((EUID == 0)) || { printf 'tests/run needs root: it starts containers and a database. Run it with sudo.\n' >&2; exit 2; }
    [[ -d $QUICKSTART_STATE && ${YES:-no} != yes ]] || return 0
    if wants system; then
        printf 'Shopfleet is installed here; the system stories would remove it with all its stores.\n' >&2
        printf 'Remove it yourself (deploy/quickstart --down), or say --yes.\n' >&2
        exit 2
    fi
}

need() { command -v "$1" >/dev/null || PACKAGES+=("$2"); }

missing_packages() {
    PACKAGES=()
    command -v dockerd >/dev/null || docker version >/dev/null 2>&1 || PACKAGES+=(docker.io)
    need nft nftables
    need mmdebstrap mmdebstrap
    need curl curl
    need jq jq
    need git git
    need cc gcc
    need docker-compose docker-compose
    [[ -x /usr/lib/postgresql/15/bin/initdb ]] || PACKAGES+=(postgresql)
    if wants system; then
        need chromium chromium
        need node nodejs
        need npm npm
        need python3 python3
        python3 -c 'import ensurepip' 2>/dev/null || PACKAGES+=(python3-venv)
    fi
}

prepare_machine() {
    local PACKAGES
    missing_packages
    if ((${#PACKAGES[@]})); then
        say "installing ${PACKAGES[*]}"
        DEBIAN_FRONTEND=noninteractive apt-get update -q -o Acquire::Retries=5 >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o Acquire::Retries=5 --no-install-recommends "${PACKAGES[@]}" >/dev/null
    fi
    command -v cargo >/dev/null || export PATH=$HOME/.cargo/bin:$PATH
    command -v cargo >/dev/null || { printf 'there is no cargo: install Rust from https://rustup.rs\n' >&2; exit 2; }
    start_docker
    [[ -z $(docker images --quiet 'shopfleet/*') ]] || IMAGES_WERE_HERE=yes
}

start_docker() {
    local deadline
    docker version >/dev/null 2>&1 && return
    if [[ -d /run/systemd/system ]]; then
        systemctl start docker
    else
        run_dockerd "$WORK/dockerd.pid" "$WORK/dockerd.log"
        DOCKERD_BY_US=$WORK/dockerd.pid
    fi
    deadline=$((SECONDS + 60))
    until docker version >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { printf 'Docker does not answer\n' >&2; exit 1; }
        sleep 0.2
    done
}

machine_down() {
    if [[ $INSTALLED_BY_US == yes && $KEEP == no ]]; then quickstart_down >"$WORK/down.log" 2>&1 || tail -n 20 "$WORK/down.log"; fi
    postgres_down
    if [[ -n $DOCKERD_BY_US && -s $DOCKERD_BY_US ]]; then kill "$(<"$DOCKERD_BY_US")"; fi
}
