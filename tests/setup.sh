#!/bin/sh
# setup.sh build|test|check|report|headers CC FLAGS|unpack DIR: the Debian packages that building and testing need. build,
# test (with MPI, for jobs of several ranks) and check (with what looks at sources) install what is missing, as root or through sudo, otherwise print the one line that does and stop; report prints what is there; unpack
# downloads the libraries and unpacks them into DIR for `make DEPS=DIR`, which needs no root; headers says in one line which
# headers the compiler does not find, and what to do.
set -eu
build="gcc make pkg-config libopenblas-openmp-dev libcjson-dev libyaml-dev libcmocka-dev libxxhash-dev uthash-dev"
test="$build libopenmpi-dev openmpi-bin"
check="$test clang-format clang-tidy cppcheck python3"
headers="cblas.h:libopenblas-openmp-dev cjson/cJSON.h:libcjson-dev yaml.h:libyaml-dev xxhash.h:libxxhash-dev uthash.h:uthash-dev"

# What of them is unpacked: the libraries' headers, and the libraries with those that they load.
unpacked="libopenblas-openmp-dev libopenblas0-openmp libgfortran5 libquadmath0 libcjson-dev libcjson1 libyaml-dev libyaml-0-2
libcmocka-dev libcmocka0 libxxhash-dev libxxhash0 uthash-dev"

missing() {
    for package in $1; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || printf '%s ' "$package"
    done
}

# probe NAME COMPILER SOURCE FLAGS [REMARK]: an optional part is there if SOURCE compiles and links.
probe() {
    file=$(mktemp -d)
    printf '%s\n' "$3" >"$file/probe.c"
    # shellcheck disable=SC2086
    if ! command -v "$2" >/dev/null 2>&1; then
        state="missing (no $2)"
    elif "$2" -o "$file/probe" "$file/probe.c" $4 >/dev/null 2>&1; then
        state="found${5:+, $5}"
    else
        state="missing (a probe with $4 does not build)"
    fi
    rm -r "$file"
    printf '%-24s %s\n' "$1" "$state"
}

report() {
    for package in $check; do
        if [ -z "$(missing "$package")" ]; then state=found; else state=missing; fi
        printf '%-24s %s\n' "$package" "$state"
    done
    cuda="-I${CUDA_HOME:-/usr/local/cuda}/include -L${CUDA_HOME:-/usr/local/cuda}/lib64"
    probe CUDA nvcc '#include <cuda_runtime.h>
int main(void) { int n; return cudaGetDeviceCount(&n) == cudaErrorUnknown; }' "-lcudart"
    probe NCCL "${CC:-gcc}" '#include <nccl.h>
int main(void) { int v; return ncclGetVersion(&v); }' "$cuda -lnccl" "sums between GPUs"
    probe MPI mpicc '#include <mpi.h>
int main(int c, char **v) { return MPI_Init(&c, &v); }' "-lm" "jobs of several ranks"
}

# headers COMPILER FLAGS...: one compilation where all is well.
find_headers() {
    compiler=$1 lacking=
    shift
    # shellcheck disable=SC2086
    if ! command -v ${compiler##* } >/dev/null 2>&1; then
        lacking="${compiler##* } (gcc)"
    elif ! for header in $headers; do echo "#include <${header%:*}>"; done | $compiler "$@" -fsyntax-only -x c - 2>/dev/null; then
        for header in $headers; do
            echo "#include <${header%:*}>" | $compiler "$@" -fsyntax-only -x c - 2>/dev/null ||
                lacking="$lacking${lacking:+, }${header%:*} (${header#*:})"
        done
    fi
    [ -n "$lacking" ] || return 0
    echo "not found: $lacking; \`make setup\` installs what is missing, or, without being root," \
        "\`sh tests/setup.sh unpack DIR\` and then \`make DEPS=DIR\`" >&2
    return 1
}

if [ "${1:-build}" = headers ]; then
    shift
    find_headers "$@"
    exit
fi
if [ "${1:-build}" = unpack ]; then
    to=${2:?setup: expected the folder to unpack into}
    mkdir -p "$to/debs"
    # shellcheck disable=SC2086
    (cd "$to/debs" && apt-get download -qq $unpacked)
    for deb in "$to"/debs/*.deb; do dpkg -x "$deb" "$to"; done
    exit 0
fi
if [ "${1:-build}" != report ] && [ -n "${DEPS:-}" ]; then
    [ -d "$DEPS/usr/include" ] && exit 0
    echo "setup: DEPS=$DEPS holds no packages; sh tests/setup.sh unpack $DEPS" >&2
    exit 1
fi
if [ "${1:-build}" = report ]; then
    report
    exit 0
fi
if ! command -v dpkg >/dev/null 2>&1; then
    echo "setup: not a Debian system; needed are the libraries of: $build" >&2
    exit 0
fi
case "${1:-build}" in
check) wanted=$check ;;
test) wanted=$test ;;
*) wanted=$build ;;
esac
lacking=$(missing "$wanted")
[ -n "$lacking" ] || exit 0
line="apt-get install -y --no-install-recommends $lacking"
if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n env"
else
    echo "setup: packages are missing; as root: $line" >&2
    exit 1
fi
echo "setup: installing $lacking"
# shellcheck disable=SC2086
$as_root DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086
$as_root DEBIAN_FRONTEND=noninteractive $line -qq >/dev/null
