# Functions of deploy/images/build; sourced, never run. Expects $here, $repo, $bins, $store_agent and $rebuild.
# shellcheck shell=bash disable=SC2154

# Every image, parents first.
ALL_IMAGES=(base mariadb redis sphinx caddy php nginx apache refshop-php-fpm refshop-nginx refshop-apache
    refshop-php-fpm-2 refshop-nginx-2 refshop-apache-2 refshop-php-fpm-3 refshop-nginx-3 refshop-apache-3
    wordpress-php-fpm wordpress-nginx wordpress-apache
    node-agent shop-agent control-plane)
# Those that others stand on, and the control plane: a node runs none of them.
NOT_FOR_NODES=(base php nginx apache control-plane)
ARCHIVE=shopfleet-images.tar
TAG=1
declare -A built=()

say() { printf '%s\n' "images: $*"; }
die() { printf '%s\n' "images: $*" >&2; exit 1; }

# A later release of an image has its number at the end of its name here, and as its tag.
image_of() {
    case $1 in
        *-[2-9]) printf 'shopfleet/%s:%s' "${1%-?}" "${1##*-}" ;;
        *) printf 'shopfleet/%s:%s' "$1" "$TAG" ;;
    esac
}

is_one_of() {
    local name wanted=$1
    shift
    for name in "$@"; do [[ $name == "$wanted" ]] && return 0; done
    return 1
}

# What a node needs to run any store.
images_for_nodes() {
    local name
    for name in "${ALL_IMAGES[@]}"; do is_one_of "$name" "${NOT_FOR_NODES[@]}" || printf '%s\n' "$name"; done
}

# The hash of the inputs an existing image was built from; empty when there is no such image.
built_hash() {
    docker image inspect --format '{{index .Config.Labels "shopfleet.inputs"}}' "$(image_of "$1")" 2>/dev/null || true
}

# Our images that a Dockerfile stands on or copies from.
parents_of() {
    sed -nE 's#^(FROM |COPY --from=)shopfleet/([a-z-]+):([0-9a-z]+).*#\2-\3#p' "$here/$1/Dockerfile" |
        sed "s/-$TAG\$//" | grep -vx debian-bookworm | sort -u
}

build_with_parents() {
    local name=$1 parent
    [[ -n ${built[$name]:-} ]] && return
    while read -r parent; do
        [[ -z $parent ]] || build_with_parents "$parent"
    done < <(parents_of "$name")
    if [[ $name == base ]]; then make_debian; fi
    build_one "$name"
    built[$name]=yes
}

# Lays out the build context: the image's folder, and what its `inputs` file names
# (lines of "<path in the repository, bins/<file> or store-agent> <path in the context>", or "empty <directory>").
lay_out_context() {
    local name=$1 context=$2 from to
    cp -a "$here/$name/." "$context/"
    [[ -f $here/$name/inputs ]] || return 0
    while read -r from to; do
        [[ -z $from || $from == \#* ]] && continue
        case $from in
            empty) mkdir -p "$context/$to"; continue ;;
            bins/*) from=$bins/${from#bins/} ;;
            store-agent) from=$store_agent ;;
            *) from=$repo/$from ;;
        esac
        [[ -e $from ]] || die "$name needs $from, which is not there; build it first (or name its place with --bins)"
        mkdir -p "$context/$(dirname "$to")"
        cp -a "$from" "$context/$to"
    done <"$here/$name/inputs"
}

hash_of_context() {
    local name=$1 context=$2 parent
    {
        tar -C "$context" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - .
        while read -r parent; do [[ -z $parent ]] || built_hash "$parent"; done < <(parents_of "$name")
        [[ $name != base ]] || docker image inspect --format '{{.Id}}' shopfleet/debian:bookworm
    } | sha256sum | cut -c1-32
}

build_one() {
    local name=$1 context hash started=$SECONDS log before
    before=$(docker image inspect --format '{{.Id}}' "$(image_of "$name")" 2>/dev/null || true)
    context=$(mktemp -d)
    log=$(mktemp)
    # shellcheck disable=SC2064 # the names are wanted as they are now
    trap "rm -rf '$context' '$log'" EXIT
    lay_out_context "$name" "$context"
    hash=$(hash_of_context "$name" "$context")
    if [[ $rebuild == no && $(built_hash "$name") == "$hash" ]]; then
        say "$name: unchanged"
    else
        say "$name: building …"
        local fresh=()
        [[ $rebuild == no ]] || fresh=(--no-cache)
        if ! DOCKER_BUILDKIT=0 docker build "${fresh[@]}" --force-rm --label "shopfleet.inputs=$hash" \
            --tag "$(image_of "$name")" "$context" >"$log" 2>&1; then
            tail -n 40 "$log" >&2
            die "$name could not be built; the end of its log is above"
        fi
        say "$name: built in $((SECONDS - started)) s"
        # What the tag named before goes, unless a container still runs from it.
        [[ -z $before || $before == "$(docker image inspect --format '{{.Id}}' "$(image_of "$name")")" ]] ||
            docker image rm "$before" >/dev/null 2>&1 || true
    fi
    rm -rf "$context" "$log"
    trap - EXIT
}

# shopfleet/debian:bookworm: pulled when a registry answers, else made here with mmdebstrap.
make_debian() {
    if docker image inspect shopfleet/debian:bookworm >/dev/null 2>&1 && [[ $rebuild == no ]]; then return; fi
    if timeout 60 docker pull --quiet debian:bookworm-slim >/dev/null 2>&1; then
        docker tag debian:bookworm-slim shopfleet/debian:bookworm
        say 'debian: pulled'
        return
    fi
    say 'debian: no registry answers; making it with mmdebstrap (about a minute) …'
    if ! command -v mmdebstrap >/dev/null; then
        apt-get install -y -q -o Acquire::Retries=5 --no-install-recommends mmdebstrap >/dev/null ||
            die 'mmdebstrap could not be installed; run apt-get update, or install it by hand'
    fi
    local sources options=()
    sources=$(mktemp)
    host_sources >"$sources"
    while read -r line; do options+=("--aptopt=$line"); done < <(host_apt_options)
    mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Retries "5"' "${options[@]}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --include=ca-certificates \
        --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/* "$1"/etc/hostname "$1"/etc/resolv.conf' \
        bookworm - "$sources" | docker import - shopfleet/debian:bookworm >/dev/null
    rm -f "$sources"
    say 'debian: made'
}

# The Debian mirrors this host itself uses, as sources.list lines.
host_sources() {
    local lines
    lines=$(known_sources)
    if [[ -z $lines ]]; then
        # Before its first update a host knows what is configured, but not that it is Debian's.
        apt-get update -q -o Acquire::Retries=5 >/dev/null
        lines=$(known_sources)
    fi
    [[ -n $lines ]] || die 'this host has no Debian bookworm source; look at /etc/apt/sources.list.d and run apt-get update'
    printf '%s\n' "$lines"
}

known_sources() {
    # shellcheck disable=SC2016 # apt fills these in
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
        grep -E ' bookworm(-updates|-security)? ' | sort -u || true
}

# What of the host's apt settings a build needs to reach the same mirrors: proxies, and clock tolerance.
host_apt_options() {
    apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|http::Proxy|https::Proxy) ' | sed 's/;$//' || true
}

# One file for all: the images share most of their layers, and one archive holds each layer once.
save_images() {
    local dir=$1 name refs=() inputs=''
    shift
    mkdir -p "$dir"
    for name in "$@"; do
        docker image inspect "$(image_of "$name")" >/dev/null 2>&1 || die "$name is not built yet"
        refs+=("$(image_of "$name")")
        inputs+="$name $(built_hash "$name")"$'\n'
    done
    if [[ -f $dir/$ARCHIVE && $(cat "$dir/$ARCHIVE.inputs" 2>/dev/null) == "${inputs%$'\n'}" ]]; then
        say "$dir/$ARCHIVE: unchanged"
        return
    fi
    say "saving ${#refs[@]} images …"
    rm -f "$dir/$ARCHIVE.inputs"
    docker save --output "$dir/$ARCHIVE.part" "${refs[@]}"
    mv "$dir/$ARCHIVE.part" "$dir/$ARCHIVE"
    printf '%s' "$inputs" >"$dir/$ARCHIVE.inputs"
    say "$dir/$ARCHIVE: saved"
}

load_images() {
    local file found=no
    for file in "$1"/*.tar; do
        [[ -f $file ]] || continue
        found=yes
        docker load --quiet --input "$file" >/dev/null
        say "$file: loaded"
    done
    [[ $found == yes ]] || die "$1 holds no image archive; make one with --save"
}
