#!/bin/sh
# `make` where something is missing: one line that names it and the two ways to get it, before anything is compiled. And
# what setup does where it may install nothing. All of it is hidden by folders of links and by wrappers on PATH, so that
# the system stays as it is and root is not needed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
unset MAKEFLAGS MAKELEVEL MFLAGS DEPS CC 2>/dev/null

real=$(command -v gcc)
if [ -z "$real" ]; then
    echo "skipped: no gcc here: make where something is missing"
    exit 0
fi
if [ -n "$(sh "$here/setup.sh" lacking "$real")" ]; then
    echo "skipped: the system has not every library: make where something is missing"
    exit 0
fi
includes=$("$real" -print-file-name=include)
multiarch=$("$real" -print-multiarch)
mkdir bin include
for folder in $(echo "$PATH" | tr : ' '); do ln -s "$folder"/* bin 2>/dev/null; done
ln -s /usr/include/* include
hide() { rm -f "$@"; }
wrap() { # wrap NAME: a command of its own, from stdin
    hide "bin/$1"
    cat >"bin/$1" && chmod +x "bin/$1"
}
without() { PATH=$PWD/bin "$@"; } # without COMMAND...: with what is hidden
bare_make() { # bare_make ARGUMENTS...: as one would call it, but for where it builds
    (cd "$here/.." && PATH=$dir/bin exec make BUILD="$dir/build" CUDA=0 "$@")
}

# one_line NAME WORDS: `make` fails, says WORDS and both ways in its only line, and has left no build.
one_line() {
    bare_make >out 2>err
    same "$1: exit code" 2 $?
    same "$1: one line in all" 1 "$(cat out err | wc -l)"
    holds "$1: names what is missing ($(head -c 200 err))" grep -qF -- "not found: $2; " err
    holds "$1: names make setup" grep -qF 'make setup' err
    holds "$1: names the way without root" grep -qF 'sh tests/setup.sh unpack DIR`, then `make DEPS=DIR' err
    holds "$1: builds nothing" test ! -e build
}

# gcc that sees only the headers linked here, and no library of the name in HIDDEN.
wrap gcc <<END
#!/bin/sh
for word; do
    shift
    [ "\$word" != "\${HIDDEN:-none}" ] || word=\$word-hidden
    set -- "\$@" "\$word"
done
exec $real -nostdinc -isystem $includes -isystem $PWD/include/$multiarch -isystem $PWD/include "\$@"
END
bare_make "$PWD/build/flags" >out 2>err
same "nothing missing: exit code" 0 $?
same "nothing missing: not a word" "0 written" "$(cat out err | wc -l) $([ -s build/flags ] && echo written)"
rm -r build

hide include/yaml.h
one_line "no header" "libyaml-dev (yaml.h)"
export HIDDEN=-lyaml
one_line "neither header nor library" "libyaml-dev (yaml.h, -lyaml)"
ln -s /usr/include/yaml.h include
one_line "no library" "libyaml-dev (-lyaml)"
hide include/uthash.h
one_line "two packages" "libyaml-dev (-lyaml), uthash-dev (uthash.h)"
ln -s /usr/include/uthash.h include
unset HIDDEN
hide include/stdio.h
one_line "no libc, which other headers include" "libc6-dev (stdio.h)"
# DEPS stands in for the system's.
if [ -d "/usr/include/$multiarch/openblas-openmp" ]; then
    ln -s /usr/include/stdio.h include
    hide include/yaml.h
    mkdir deps && ln -s /usr deps/usr
    bare_make DEPS="$PWD/deps" "$PWD/build/flags" >out 2>err
    same "DEPS has the header: exit code" 0 $?
    rm -rf build
    ln -s /usr/include/yaml.h include
else
    echo "skipped: no OpenBLAS for OpenMP in /usr/include: DEPS has the header"
fi

hide bin/gcc
wrap dpkg <<'END'
#!/bin/sh
case " $UNPACKED " in *" $2 "*) exit 1 ;; esac
echo "Status: install ok installed"
END
export UNPACKED=
one_line "no compiler" "the compiler gcc"
export UNPACKED="libyaml-dev uthash-dev"
one_line "neither compiler nor packages" "the compiler gcc, libyaml-dev, uthash-dev"

# Setup: what is needed stops it, MPI does not. Nobody is root here, and there is no sudo; then there is no network.
echo 'echo 1000' | wrap id
hide bin/sudo
ask() { without sh "$here/setup.sh" "$@" >out 2>err; }
export UNPACKED="libopenmpi-dev openmpi-bin"
ask test
same "setup without MPI: goes on" 0 $?
same "in one line" 1 "$(cat out err | wc -l)"
holds "that says what is skipped and why" grep -q "jobs of several ranks are not tested: .*as root: apt-get install .* libopenmpi-dev openmpi-bin" err
export UNPACKED="libcjson-dev openmpi-bin"
check "setup without a library: stops" 1 "as root: apt-get install -y --no-install-recommends libcjson-dev" without sh "$here/setup.sh" test
echo 'echo 0' | wrap id
printf '#!/bin/sh\necho "E: Unable to fetch some archives"\nexit 100\n' | wrap apt-get
check "setup without a network: stops" 1 "cannot install libcjson-dev: E: Unable to fetch" without sh "$here/setup.sh" build
export UNPACKED="openmpi-bin"
ask test
same "but for MPI: goes on" 0 $?
holds "and says why" grep -q "not tested: cannot install openmpi-bin: E: Unable to fetch" err
# The tests of several ranks then make one line among what is skipped.
hide bin/mpirun
printf '#!/bin/sh\necho libmpi.so.40\n' | wrap ldd
ranks() { without bash -c '. "$0/report.sh"; can_run_ranks "several ranks" program || echo "$skipped skipped"' "$here"; }
same "tests of ranks are skipped" "several ranks: skipped, no mpirun here (openmpi-bin)|1 skipped" "$(ranks | paste -sd'|' -)"
printf '#!/bin/sh\necho libc.so.6\n' | wrap ldd
holds "and where the build has no MPI" sh -c 'echo "$1" | grep -q "this build has no MPI"' holds "$(ranks)"
exit $failed
