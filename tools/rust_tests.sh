#!/usr/bin/env bash
# Runs the Rust tests: with cargo-nextest where it is installed, otherwise with `cargo test`.
# Compiling nextest takes longer than all the tests; `cargo install --locked cargo-nextest` once is worth it.
set -euo pipefail
cd "$(dirname "$0")/.."
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked --workspace --no-tests=pass "$@"
fi
echo "rust tests: cargo-nextest is not installed, using cargo test" >&2
[[ $# -gt 0 ]] || set -- --lib --tests
exec cargo test --locked --workspace --quiet "$@"
