# The suites of tests/run. Sourced, never run.
# shellcheck shell=bash

CARGO=(--profile quick --locked)
# Where nobody watches, everything is compiled once: what would make a second time faster is several times as large as all else.
[[ $LIVE == yes ]] || export CARGO_INCREMENTAL=0
NEXTEST=(--cargo-profile quick --locked --workspace --color never)

lints() { cargo clippy "${CARGO[@]}" --workspace --all-targets --all-features -- -D warnings; }

shell_syntax() {
    local file status=0
    while read -r file; do
        if head -n 1 "$file" | grep -q '^#!.*bash' || [[ $file == *.sh ]]; then bash -n "$file" || status=1; fi
    done < <(git ls-files --cached --others --exclude-standard deploy tests .ci)
    return "$status"
}

rust_tests() {
    # One seed for every run, so that a red one can be repeated; another seed in the environment looks further.
    export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-20261121}
    local told=()
    [[ $LIVE == yes ]] || told=(--status-level fail --final-status-level fail)
    if command -v cargo-nextest >/dev/null; then
        # One of them is the seeds, which start as many processes as there are cores (.config/nextest.toml).
        cargo nextest run "${NEXTEST[@]}" --no-fail-fast --test-threads "$(($(nproc) + 1))" "${told[@]}"
    else
        cargo test "${CARGO[@]}" --workspace --no-fail-fast
    fi
}

test_programs() {
    if command -v cargo-nextest >/dev/null; then
        cargo nextest run "${NEXTEST[@]}" --no-run
    else
        cargo test "${CARGO[@]}" --workspace --no-run
    fi
}

binaries() { cargo build "${CARGO[@]}" -p control-plane -p shop-agent -p shopctl; }

# Those that need none of our binaries: packages come over the network while the compiler has the cores.
images_of_packages() {
    local names
    names=$(deploy/images/build --list | grep -vxE 'node-agent|shop-agent|control-plane' | paste -sd,)
    deploy/images/build --only "$names"
}

compose_accepts() {
    local file status=0 words
    for file in compose-templates/*/compose.yaml compose-templates/*/*/compose.yaml; do
        words=$(docker-compose -f "$file" config --quiet 2>&1) || { printf '%s: %s\n' "$file" "$words"; status=1; }
    done
    return "$status"
}

unit_suite() {
    phase 'format' cargo fmt --all -- --check
    phase 'shell syntax' shell_syntax
    phase 'docker-compose accepts every template' compose_accepts
    beside 'images of packages' images_of_packages
    phase 'lints' lints
    phase 'binaries' binaries
    joined
    phase 'images' deploy/images/build
    # It kills containers and waits for them, while the compiler needs the cores and no container.
    beside 'templates by hand' tests/by-hand
    phase 'test programs' test_programs
    joined
    phase 'PostgreSQL for the tests' postgres_up
    export SHOPFLEET_TEST_DOCKER=1
    aloud 'Rust tests' counted rust_tests
    unset SHOPFLEET_TEST_DOCKER
    postgres_down
}

quickstart_down() {
    local keep=()
    # Images that were here before the run are not ours to remove.
    [[ $IMAGES_WERE_HERE == no ]] || keep=(--keep-images)
    deploy/quickstart --down --yes "${keep[@]}"
}

system_up() {
    INSTALLED=yes
    if [[ -d $QUICKSTART_STATE ]]; then
        if ! wants system; then return; fi
        quickstart_down
    fi
    INSTALLED_BY_US=yes
    # Advertised, because the second host of the stories comes over the network. The disk may be fuller than a real host's should be.
    phase 'quickstart' installed deploy/quickstart --yes --disk-limit 97 --advertise "$(hostname -I | cut -d' ' -f1)"
}

# Nothing is told of a system that did not come up: every story would wait for it.
installed() { "$@" || { INSTALLED=no; return 1; }; }

browser_tools() { (cd tests/browser && npm install --no-package-lock --no-audit --no-fund --loglevel=error); }

python_tools() {
    python3 -m venv "$WORK/venv" && "$WORK/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
    export SHOPFLEET_PYTHON=$WORK/venv/bin/python
}

nothing_left() {
    local left
    left=$(
        docker ps --all --format 'container {{.Names}}' | grep -E ' (sf-|shopfleet)' || true
        docker network ls --format 'network {{.Name}}' | grep -E ' (sf-|shopfleet)' || true
        docker volume ls --format 'volume {{.Name}}' | grep -E ' (sf-|shopfleet)' || true
        [[ $IMAGES_WERE_HERE == yes ]] || docker images --format 'image {{.Repository}}:{{.Tag}}' | grep ' shopfleet/' || true
        nft list tables 2>/dev/null | grep shopfleet || true
        find /run/shopfleet /var/lib/shopfleet "$QUICKSTART_STATE" /usr/local/bin/shopctl -maxdepth 0 2>/dev/null || true
        grep -l quickstart "$HOME/.config/shopfleet/contexts.toml" 2>/dev/null || true
    )
    [[ -z $left ]] || { printf 'left behind:\n%s\n' "$left"; return 1; }
}

system_suite() {
    if [[ $INSTALLED == yes ]]; then
        phase 'browser tools' browser_tools
        phase 'Python tools' python_tools
        phase 'PostgreSQL for a story' postgres_up
        aloud 'stories' stories
        postgres_down
    fi
    if [[ $KEEP == yes ]]; then return; fi
    phase 'quickstart --down' quickstart_down
    INSTALLED_BY_US=no
    phase 'nothing is left' nothing_left
}

bench_suite() {
    [[ $INSTALLED == yes ]] || return 0
    aloud 'bench time-to-ready' tests/bench time-to-ready
    aloud 'bench agent-footprint' tests/bench agent-footprint
}
