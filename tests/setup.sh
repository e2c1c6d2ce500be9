#!/bin/sh
# setup.sh build|check|report: the Debian packages that building and testing need; installs what is missing as root or
# through sudo, otherwise prints the one line that does and stops.
set -eu
build="gcc make pkg-config libopenblas-openmp-dev libcjson-dev libyaml-dev libcmocka-dev libxxhash-dev uthash-dev"
check="$build clang-format cppcheck"

missing() {
    for package in $1; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || printf '%s ' "$package"
    done
}

report() {
    for package in $check; do
        if [ -z "$(missing "$package")" ]; then state=found; else state=missing; fi
        printf '%-24s %s\n' "$package" "$state"
    done
    for tool in nvcc mpirun; do
        if command -v "$tool" >/dev/null 2>&1; then state="found, not used yet"; else state=missing; fi
        printf '%-24s %s\n' "$tool" "$state"
    done
}

if [ "${1:-build}" = report ]; then
    report
    exit 0
fi
if ! command -v dpkg >/dev/null 2>&1; then
    echo "setup: not a Debian system; needed are the libraries of: $build" >&2
    exit 0
fi
if [ "${1:-build}" = check ]; then wanted=$check; else wanted=$build; fi
lacking=$(missing "$wanted")
[ -n "$lacking" ] || exit 0
line="apt-get install -y --no-install-recommends $lacking"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "setup: packages are missing; as root: $line" >&2
    exit 1
fi
echo "setup: installing $lacking"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root $line -qq >/dev/null
