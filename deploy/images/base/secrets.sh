# Reading secrets from files; sourced by entrypoints. POSIX shell.
# A secret is there before the container starts, or it never will be: so a missing one ends the start.

SECRETS=/run/secrets

# require_secrets NAME...: exits 78 (EX_CONFIG) and says which file is missing.
require_secrets() {
    for secret_name; do
        if ! [ -r "$SECRETS/$secret_name" ] || ! [ -s "$SECRETS/$secret_name" ]; then
            echo "secret $SECRETS/$secret_name is missing, empty or unreadable for uid $(id -u)" >&2
            exit 78
        fi
    done
}

# write_private FILE: takes standard input, leaves a file that only this uid can read.
write_private() {
    rm -f "$1"
    (umask 077 && cat >"$1")
}
