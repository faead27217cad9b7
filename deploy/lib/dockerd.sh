# Starts a dockerd of our own where no systemd does. Sourced, never run.
# shellcheck shell=bash

# Who gives way to whom when the processors are short, as systemd's units would have it: shops that serve go before dockerd, which answers
# for the names in their networks, and dockerd before containerd and its helpers, which start and remove containers.
readonly CPU_GROUPS=/sys/fs/cgroup/cpu
readonly CONTAINERS_CPU_SHARES=8192 DOCKERD_CPU_SHARES=1024 CONTAINERD_CPU_SHARES=128

# Its own session, so that it outlives this shell. Without a group of its own, each of its threads would weigh as much as all shops together.
run_dockerd() { # PIDFILE LOG
    local grouped=''
    if [[ -w $CPU_GROUPS/cgroup.procs ]]; then
        cpu_group docker "$CONTAINERS_CPU_SHARES"
        cpu_group dockerd "$DOCKERD_CPU_SHARES"
        cpu_group containerd "$CONTAINERD_CPU_SHARES"
        grouped=yes
    fi
    (
        if [[ -n $grouped ]]; then printf '%s\n' "$BASHPID" >"$CPU_GROUPS/dockerd/cgroup.procs"; fi
        exec setsid dockerd --pidfile "$1" >"$2" 2>&1 </dev/null
    ) &
    disown
    if [[ -n $grouped ]]; then
        regroup_containerd "$1" </dev/null >/dev/null 2>&1 &
        disown
    fi
}

cpu_group() { # NAME SHARES
    mkdir -p "$CPU_GROUPS/$1"
    printf '%s\n' "$2" >"$CPU_GROUPS/$1/cpu.shares"
}

# dockerd starts its containerd itself, in its own group.
regroup_containerd() { # PIDFILE
    local pid
    for _ in {1..100}; do
        if [[ -s $1 ]] && pid=$(pgrep -P "$(<"$1")" -x containerd); then
            printf '%s\n' "$pid" >"$CPU_GROUPS/containerd/cgroup.procs"
            return
        fi
        sleep 0.2
    done
}
