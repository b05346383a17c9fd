# Sourced by each `proofs/*/run`. Defines `root` (the repository), `target` (the directory for
# builds), and functions that install Debian packages if they are missing.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/proofs

# install PACKAGE...
install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need PACKAGE COMMAND...: installs the package if one of the commands is missing
need() {
    package=$1
    shift
    for command; do
        command -v "$command" >/dev/null && continue
        install "$package"
        return
    done
}

# need_packages PACKAGE...: installs the packages that are not installed
need_packages() {
    for package; do
        dpkg -s "$package" >/dev/null 2>&1 || install "$package"
    done
}

# need_debian_rust: Debian's rustc and cargo, and the source of the standard library of that version
need_debian_rust() {
    need_packages rustc-web cargo-web rust-web-src
}

# use_debian_rust: later calls of cargo use Debian's rustc, and may use -Z options
use_debian_rust() {
    export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
}
