#!/bin/sh
# setup.sh build|test|check|report|lacking CC FLAGS|unpack DIR: the Debian packages that building and testing need. build,
# test (with MPI, for jobs of several ranks) and check (with what looks at sources, too) install what is missing, as root or
# through sudo, and stop with one line where they cannot, but for MPI, without which they go on. report prints what is
# there; unpack downloads the libraries and unpacks them into DIR for `make DEPS=DIR`, which needs no root; lacking says in
# one line what the compiler does not find and what to do, or nothing.
set -eu
build="gcc libc6-dev make pkg-config libopenblas-openmp-dev libcjson-dev libyaml-dev libcmocka-dev libxxhash-dev uthash-dev"
mpi="libopenmpi-dev openmpi-bin"
check="clang-format clang-tidy cppcheck python3"

# What a build finds of them, as package:header:library.
parts="libc6-dev:stdio.h: libopenblas-openmp-dev:cblas.h:openblas libcjson-dev:cjson/cJSON.h:cjson libyaml-dev:yaml.h:yaml
libxxhash-dev:xxhash.h:xxhash uthash-dev:uthash.h:"

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
    for package in $build $mpi $check; do
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

# A program with every header and library: one compilation where all is well.
whole_program() {
    libraries=
    for part in $parts; do [ -z "${part##*:}" ] || libraries="$libraries -l${part##*:}"; done
    # shellcheck disable=SC2086
    {
        for part in $parts; do part=${part#*:} && echo "#include <${part%:*}>"; done
        echo 'int main(void) { return 0; }'
    } | $compiler "$@" -fopenmp -o "$scratch/probe" -x c - -x none $libraries 2>"$scratch/errors"
}

# A header is looked for without what it includes, a library without libc: what is lacking is not blamed on what needs it.
has_header() {
    header=$1
    shift
    printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$header" | $compiler "$@" -E -o "$scratch/probe" -x c - 2>/dev/null
}
has_library() {
    library=$1
    shift
    $compiler "$@" -shared -nostdlib -o "$scratch/probe" -x c /dev/null -x none "-l$library" 2>/dev/null
}

# The compiler itself, as it may be called: `ccache gcc`, `gcc -m32`. Packages have to say the rest where there is none.
lacking_compiler() {
    for word in $compiler; do
        case "$word" in -* | *=*) continue ;; esac
        command -v "$word" >/dev/null 2>&1 || echo "the compiler $word"
    done
}
lacking_packages() {
    command -v dpkg >/dev/null 2>&1 && [ -z "${DEPS:-}" ] || return 0
    for part in $parts; do [ -z "$(missing "${part%%:*}")" ] || echo "${part%%:*}"; done
}
lacking_parts() {
    for part in $parts; do
        package=${part%%:*} library=${part##*:} part=${part#*:} what=
        has_header "${part%:*}" "$@" || what=${part%:*}
        [ -z "$library" ] || has_library "$library" "$@" || what="$what${what:+, }-l$library"
        [ -z "$what" ] || echo "$package ($what)"
    done
}

lacking() {
    compiler=$1
    shift
    scratch=$(mktemp -d)
    trap 'rm -r "$scratch"' EXIT
    found=$(lacking_compiler)
    if [ -n "$found" ]; then
        found=$(echo "$found" && lacking_packages)
    else
        ! whole_program "$@" || return 0
        found=$(lacking_parts "$@")
        if [ -z "$found" ]; then
            echo "a program with every library does not build with $compiler: $(grep -m 1 -i error "$scratch/errors")"
            return 0
        fi
    fi
    echo "not found: $(echo "$found" | paste -sd, | sed 's/,\([^ ]\)/, \1/g'); \`make setup\` installs what is missing;" \
        "libraries also come without being root: \`sh tests/setup.sh unpack DIR\`, then \`make DEPS=DIR\`"
}

# install PACKAGES: what is missing of them. Fails with one line, which is in $why, where that cannot be.
install() {
    wanted=$(missing "$1") && wanted=${wanted% }
    [ -n "$wanted" ] || return 0
    line="apt-get install -y --no-install-recommends $wanted"
    if [ "$(id -u)" = 0 ]; then
        as_root="env"
    elif sudo -n true 2>/dev/null; then
        as_root="sudo -n env"
    else
        why="packages are missing; as root: $line"
        return 1
    fi
    echo "setup: installing $wanted"
    # shellcheck disable=SC2086
    if ! said=$({ $as_root DEBIAN_FRONTEND=noninteractive apt-get update -qq && $as_root DEBIAN_FRONTEND=noninteractive $line -qq; } 2>&1); then
        why="cannot install $wanted: $(echo "$said" | grep -m 1 '^E:' || echo "$said" | tail -n 1)"
        return 1
    fi
}

case "${1:-build}" in
lacking)
    shift
    lacking "$@"
    exit 0
    ;;
report)
    report
    exit 0
    ;;
unpack)
    to=${2:?setup: expected the folder to unpack into}
    mkdir -p "$to/debs"
    # shellcheck disable=SC2086
    (cd "$to/debs" && apt-get download -qq $unpacked)
    for deb in "$to"/debs/*.deb; do dpkg -x "$deb" "$to"; done
    exit 0
    ;;
esac
if [ -n "${DEPS:-}" ]; then
    [ -d "$DEPS/usr/include" ] && exit 0
    echo "setup: DEPS=$DEPS holds no packages; sh tests/setup.sh unpack $DEPS" >&2
    exit 1
fi
if ! command -v dpkg >/dev/null 2>&1; then
    echo "setup: not a Debian system; needed are the libraries of: $build" >&2
    exit 0
fi
needed=$build
[ "${1:-build}" != check ] || needed="$build $check"
install "$needed" || {
    echo "setup: $why" >&2
    exit 1
}
[ "${1:-build}" = build ] || install "$mpi" || echo "setup: jobs of several ranks are not tested: $why" >&2
