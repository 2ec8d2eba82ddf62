#!/bin/sh
# Everything a fresh Debian 12 needs before the first build: apt packages (as root; a plain
# user is told the exact line and gets exit 5), the virtual environment, the package in it.
# usage: sh lab/setup.sh PYTHON VENV      Quick when nothing is missing.
set -eu
python=$1
venv=$2

missing=
need() { # need COMMAND-OR-FILE PACKAGE
    case $1 in
    /*) [ -e "$1" ] || missing="$missing $2" ;;
    *) command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] || missing="$missing $2" ;;
    esac
}
need gcc gcc
need /usr/include/stdlib.h libc6-dev
need /usr/include/linux/if_packet.h linux-libc-dev
need ip iproute2
need nft nftables
need unshare util-linux
need python3 python3
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null || true)
[ -e "$header/Python.h" ] || missing="$missing python3-dev"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        echo "setup: installing$missing" >&2
        apt-get update -qq >&2
        # shellcheck disable=SC2086 # one word a package
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
    else
        echo "error: these Debian packages are missing:$missing" >&2
        echo "  run this as root, then again what you ran:  apt-get install -y$missing" >&2
        exit 5
    fi
fi

if [ ! -x "$venv/bin/python" ]; then
    echo "setup: virtual environment in $venv" >&2
    "$python" -m venv "$venv"
fi
echo "setup: building the package" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c lab/constraints.txt -e '.[dev]' >&2
