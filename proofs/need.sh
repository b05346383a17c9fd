# Sourced by the lanes: the repository's root, the target directory, and what a bare machine has to install first.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/proofs

# need PACKAGE COMMAND...: installs Debian's package where a command is not there.
need() {
    package=$1
    shift
    for command; do
        command -v "$command" >/dev/null && continue
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
        return
    done
}
