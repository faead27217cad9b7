# The first store: made, waited for, tried as a buyer would, and shown.
# Sourced, never run.
# shellcheck shell=bash

store_field() { cli store get "$STORE" -o json | jq -r ".$1 // empty"; }

# The shop as its buyers see it, through the edge of this host whatever the name resolves to.
shop_get() { curl --silent --fail --max-time 10 --connect-to "::127.0.0.1:$EDGE_HTTP" --output /dev/null "$1"; }

store_ensure() {
    local url profiles=() profile
    for profile in "${PROFILES[@]}"; do profiles+=(--profile "$profile"); done
    if cli_quiet store get "$STORE"; then
        same "store $STORE"
        cli_quiet store start "$STORE" --wait || true
    else
        CURRENT_STEP="creating store $STORE"
        say "  …     creating store $STORE"
        cli store create "$STORE" --template "$TEMPLATE" "${profiles[@]}" --wait --timeout 600 ||
            die "store $STORE is not running" "see: shopctl store get $STORE, shopctl store events $STORE"
    fi
    url=$(store_field url)
    [[ -n $url ]] || die "store $STORE has no URL" "see: shopctl store get $STORE"
    CURRENT_STEP="trying $url"
    wait_until 15 shop_get "$url" || die "$url does not answer as it should" "see: shopctl store get $STORE, docker logs shopfleet-node"
    ok "$url answers"
}

store_show() {
    local url
    url=$(store_field url)
    say
    say "$(bold 'Your shop is open.')"
    say
    say "  shop        $url"
    say "  shop admin  $(store_field admin_url)"
    say "  password    shopctl store credentials $STORE"
    tunnel_hint "$url"
}

# Over SSH the person's browser is on another machine, where *.localhost is that machine.
tunnel_hint() {
    local server user
    [[ -n ${SSH_CONNECTION:-} && $BASE_DOMAIN == localhost ]] || return 0
    server=$(awk '{print $3}' <<<"$SSH_CONNECTION")
    user=${SUDO_USER:-$(id -un)}
    say
    say '  You are here over SSH. On your own machine run'
    if ((EDGE_HTTP == 80)); then
        say "      ssh -L 8080:127.0.0.1:80 $user@$server"
        say "  and open ${1/.localhost/.localhost:8080} there; or give this command --base-domain with a name that points here."
    else
        say "      ssh -L $EDGE_HTTP:127.0.0.1:$EDGE_HTTP $user@$server"
        say '  and open the address above there; or give this command --base-domain with a name that points here.'
    fi
}

next_steps() {
    say
    say 'Next'
    say '  shopctl store list                                   every store and how it is'
    say '  shopctl store create shoes --template refshop --wait another one'
    say '  shopctl template list                                what there is to choose from'
    say '  shopctl node join                                    the command that adds another host'
    say '  deploy/quickstart --down                             takes everything away again'
}
