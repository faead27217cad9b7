# Starts a dockerd of our own where no systemd does. Sourced, never run.
# shellcheck shell=bash

# Against 1024 of all containers together: what Docker does to start and remove containers gives way to shops that serve.
DOCKERD_CPU_SHARES=256

# Its own session, so that it outlives this shell. Without a group of its own, each of its threads would weigh as much as all shops together.
run_dockerd() { # PIDFILE LOG
    local group=/sys/fs/cgroup/cpu/dockerd
    if [[ -w /sys/fs/cgroup/cpu/cgroup.procs ]] && mkdir -p "$group"; then
        printf '%s\n' "$DOCKERD_CPU_SHARES" >"$group/cpu.shares"
    else
        group=''
    fi
    (
        if [[ -n $group ]]; then printf '%s\n' "$BASHPID" >"$group/cgroup.procs"; fi
        exec setsid dockerd --pidfile "$1" >"$2" 2>&1 </dev/null
    ) &
    disown
}
