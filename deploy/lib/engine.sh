# Docker: used as it is where there is one, installed from Debian where there is none.
# Never restarts, upgrades or configures a Docker that quickstart did not start itself.
# Sourced, never run.
# shellcheck shell=bash

DOCKERD_PID_FILE=$STATE_DIR/dockerd.pid
DOCKERD_WAIT_SECONDS=60

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get update -q -o Acquire::Retries=5
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o Acquire::Retries=5 --no-install-recommends "$@"
}

missing_packages() {
    command -v dockerd >/dev/null || docker_answers || printf '%s\n' docker.io
    command -v nft >/dev/null || printf '%s\n' nftables
    command -v curl >/dev/null || printf '%s\n' curl
    command -v jq >/dev/null || printf '%s\n' jq
    # What the Rust build links with; not needed with ready binaries.
    [[ -n $BINS ]] || command -v cc >/dev/null || printf '%s\n' gcc libc6-dev
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || printf '%s\n' ca-certificates
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    if ((${#packages[@]} == 0)); then
        same 'packages: nothing is missing'
        return
    fi
    [[ " ${packages[*]} " != *' docker.io '* ]] || state_set installed_docker yes
    step "installing ${packages[*]}" apt_install "${packages[@]}"
}

docker_answers() { command -v docker >/dev/null && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

systemd_runs() { [[ -d /run/systemd/system ]]; }

ensure_docker() {
    local version
    if ! docker_answers; then
        if systemd_runs; then
            CURRENT_STEP='starting Docker'
            systemctl enable --now docker >/dev/null 2>&1 ||
                die 'systemd could not start Docker' 'see: journalctl -u docker'
        else
            start_dockerd
        fi
        wait_for_docker
    fi
    version=$(docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})')
    ok "Docker Engine $version"
}

# Without systemd nobody else would start it.
start_dockerd() {
    CURRENT_STEP='starting Docker'
    ! pgrep -x dockerd >/dev/null ||
        die 'a dockerd runs but does not answer on its default socket' 'it is not ours to restart: see its log, or set DOCKER_HOST.'
    command -v dockerd >/dev/null || die 'there is no dockerd' 'install the package docker.io.'
    run_dockerd "$DOCKERD_PID_FILE" "$LOG_DIR/dockerd.log"
    state_set started_dockerd yes
    warn "systemd does not run here, so quickstart started dockerd itself (log: $LOG_DIR/dockerd.log); start it again after a reboot"
}

wait_for_docker() {
    local deadline=$((SECONDS + DOCKERD_WAIT_SECONDS))
    until docker_answers; do
        ((SECONDS < deadline)) || die "Docker does not answer after $DOCKERD_WAIT_SECONDS s" "see $LOG_DIR/dockerd.log or: journalctl -u docker"
        sleep 0.2
    done
}
