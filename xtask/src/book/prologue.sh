# What a shell knows before the first block of a page.
set -eE -o pipefail
trap 'echo "this failed: $BASH_COMMAND"' ERR
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT

# A daemon has a terminal of its own, and is left running; `dev` is ended at its first result.
nimblenet() {
    case "$1 $*" in
    "registry "* | "node "*) beside "$@" ;;
    "dev "*" --once"*) command nimblenet "$@" ;;
    "dev "*) beside "$@" && kill "$beside" ;;
    *) command nimblenet "$@" ;;
    esac
}

# Starts nimblenet in the background and waits for its first line.
beside() {
    local log tries
    log=$(mktemp "$LOGS/daemon.XXXXXX")
    command nimblenet "$@" >"$log" &
    beside=$!
    for ((tries = 0; tries < 600; tries++)); do
        if [ -s "$log" ]; then
            cat "$log"
            return
        fi
        kill -0 "$beside" 2>/dev/null || break
        sleep 0.05
    done
    echo "nimblenet $* ended, or printed nothing for 30 seconds"
    return 1
}
