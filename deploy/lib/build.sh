# Builds our binaries and images from this checkout, and installs the CLI.
# Sourced, never run. Expects $REPO and $BINS (empty: build here).
# shellcheck shell=bash

BUILT_DIR=$REPO/target/x86_64-unknown-linux-gnu/quick
BINARIES=(control-plane shop-agent shopctl)
# What runs inside every store: one role only, made small; it takes a build of its own.
STORE_AGENT=$REPO/target/x86_64-unknown-linux-gnu/agent/shop-agent
CLI_PATH=/usr/local/bin/shopctl

# Root's own cargo, or that of the person who called sudo.
find_cargo() {
    local home place
    home=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
    for place in "$(command -v cargo || true)" "$HOME/.cargo/bin/cargo" "$home/.cargo/bin/cargo"; do
        if [[ -n $place && -x $place ]]; then
            printf '%s\n' "$place"
            return 0
        fi
    done
    return 1
}

# as_owner CARGO ARGUMENT…: cargo writes as the owner of the checkout, so that no root-owned files are left in a person's target/.
as_owner() {
    local cargo=$1 owner
    shift
    owner=$(stat -c %U "$REPO")
    cd "$REPO" || return 1
    if [[ $owner != root && $owner == "${SUDO_USER:-}" ]]; then
        sudo -u "$owner" -- "$cargo" "$@"
    else
        PATH=$(dirname "$cargo"):$PATH "$cargo" "$@"
    fi
}

compile() {
    local packages=() name
    for name in "${BINARIES[@]}"; do packages+=(-p "$name"); done
    as_owner "$1" build --profile quick --locked "${packages[@]}"
}

compile_store_agent() { as_owner "$1" build --profile agent --locked -p shop-agent --no-default-features --features terse; }

build_binaries() {
    local cargo name
    if [[ -z $BINS ]]; then
        cargo=$(find_cargo) || die 'there is no cargo, Rust'\''s build tool' \
            'install Rust from https://rustup.rs as root (the toolchain named in rust-toolchain.toml is then fetched by itself), or give ready binaries with --bins DIR.'
        step 'compiling control-plane, shop-agent and shopctl' compile "$cargo"
        step 'compiling the agent that runs in every store, small' compile_store_agent "$cargo"
        BINS=$BUILT_DIR
    else
        STORE_AGENT=$BINS/store-agent
        # Ready binaries may come without the small one; the other can do the same, in three times the room.
        [[ -x $STORE_AGENT ]] || STORE_AGENT=$BINS/shop-agent
    fi
    for name in "${BINARIES[@]}"; do
        [[ -x $BINS/$name ]] || die "$BINS/$name is not there" 'give --bins a directory with control-plane, shop-agent and shopctl.'
    done
}

build_images() { step 'making the images' "$REPO/deploy/images/build" --bins "$BINS" --store-agent "$STORE_AGENT"; }

# What a further host needs of this one: there may be no registry. Given to its node agent by --images.
save_images() {
    local dir=${SAVE_IMAGES:-$STATE_DIR/images}
    step "saving the images for further hosts to $dir" "$REPO/deploy/images/build" --save "$dir"
}

install_cli() {
    if cmp -s "$BINS/shopctl" "$CLI_PATH"; then
        same "$CLI_PATH"
        return
    fi
    if [[ -e $CLI_PATH && $(state_get installed_cli) != yes ]]; then
        die "$CLI_PATH exists and is not from quickstart" 'move it away and run again.'
    fi
    install -m 0755 "$BINS/shopctl" "$CLI_PATH.new"
    mv "$CLI_PATH.new" "$CLI_PATH"
    state_set installed_cli yes
    ok "shopctl is at $CLI_PATH"
}
