#!/usr/bin/env bash
# Builds a wheel from the source distribution alone: unpacked where nothing else is, by pip, with the
# crates Cargo.lock names. Compiled crates are reused from target/, they do not depend on where we are.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
found=(dist/celeriac-*.tar.gz)
[[ ${#found[@]} -eq 1 ]] || { echo "sdist: one in dist/ is needed; run \`make wheel\`" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tar -xzf "${found[0]}" -C "$folder"
export CARGO_TARGET_DIR=$PWD/target
python -m venv "$folder/environment"
cd "$folder"/celeriac-*/
"$folder/environment/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder" .
"$folder/environment/bin/pip" install --quiet --disable-pip-version-check "$folder"/celeriac-*.whl
cd "$folder"
"$folder/environment/bin/celeriac" --version
