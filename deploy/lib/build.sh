# Builds our binaries and images from this checkout, and installs the CLI.
# Sourced, never run. Expects $REPO and $BINS (empty: build here).
# shellcheck shell=bash

BUILT_DIR=$REPO/target/x86_64-unknown-linux-gnu/quick
BINARIES=(control-plane shop-agent shopctl)
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

# Cargo writes as the owner of the checkout, so that no root-owned files are left in a person's target/.
compile() {
    local cargo=$1 owner packages=() name
    owner=$(stat -c %U "$REPO")
    for name in "${BINARIES[@]}"; do packages+=(-p "$name"); done
    cd "$REPO" || return 1
    if [[ $owner != root && $owner == "${SUDO_USER:-}" ]]; then
        sudo -u "$owner" -- "$cargo" build --profile quick --locked "${packages[@]}"
    else
        PATH=$(dirname "$cargo"):$PATH "$cargo" build --profile quick --locked "${packages[@]}"
    fi
}

build_binaries() {
    local cargo name
    if [[ -z $BINS ]]; then
        cargo=$(find_cargo) || die 'there is no cargo, Rust'\''s build tool' \
            'install Rust from https://rustup.rs as root (the toolchain named in rust-toolchain.toml is then fetched by itself), or give ready binaries with --bins DIR.'
        step 'compiling control-plane, shop-agent and shopctl' compile "$cargo"
        BINS=$BUILT_DIR
    fi
    for name in "${BINARIES[@]}"; do
        [[ -x $BINS/$name ]] || die "$BINS/$name is not there" 'give --bins a directory with control-plane, shop-agent and shopctl.'
    done
}

build_images() { step 'making the images' "$REPO/deploy/images/build" --bins "$BINS"; }

save_images() {
    [[ -n $SAVE_IMAGES ]] || return 0
    step "saving the images to $SAVE_IMAGES" "$REPO/deploy/images/build" --save "$SAVE_IMAGES"
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
