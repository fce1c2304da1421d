#!/usr/bin/env bash
# Makes .venv with the first Python >= 3.10 and brings the locked dependency groups into it.
# Does nothing when it is up to date. Arguments: further dependency groups (docs).
set -euo pipefail
cd "$(dirname "$0")/.."
unset VIRTUAL_ENV
export UV_PYTHON_DOWNLOADS=never
uv_version=0.13.9

fail() { echo "setup: $*" >&2; exit 1; }

first_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python >= 3.10 found; install one (apt-get install python3) or name it: make PYTHON=/path/to/python3"
}

# Debian keeps ensurepip in a package of its own; without it `python3 -m venv` makes no pip.
install_venv_package() {
    local as_root=()
    [[ $(id -u) -eq 0 ]] || as_root=(sudo)
    command -v apt-get >/dev/null || fail "this Python has no ensurepip; install its venv package"
    echo "setup: this Python has no ensurepip; installing Debian's python3-venv"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq python3-venv >/dev/null
}

make_environment() {
    local python
    python=$(first_python)
    echo "setup: making .venv with $("$python" --version)"
    "$python" -c 'import ensurepip' 2>/dev/null || install_venv_package
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
}

# `make PYTHON=...` on an environment of another version makes it anew.
is_of_the_named_python() {
    local version='import sys; print(sys.version)'
    [[ -z ${PYTHON:-} || $("$PYTHON" -c "$version") == "$(.venv/bin/python -c "$version")" ]]
}

command -v cargo >/dev/null || fail "cargo not found; install Rust from https://rustup.rs"
[[ -x .venv/bin/uv ]] && is_of_the_named_python || make_environment

stamp=.venv/.locked-groups
wanted="dev lint test bench $* $(cat uv.lock pyproject.toml | sha256sum)"
if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    groups=()
    for group in dev lint test bench "$@"; do groups+=(--group "$group"); done
    # --inexact: uv and the module maturin installs stay.
    .venv/bin/uv sync --locked --quiet --inexact --no-install-project "${groups[@]}"
    echo "$wanted" >"$stamp"
fi
