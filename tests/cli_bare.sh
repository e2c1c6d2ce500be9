#!/bin/sh
# `make` where a library is missing: one line that names it and the two ways to get it, before anything is compiled.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
unset MAKEFLAGS MAKELEVEL MFLAGS DEPS 2>/dev/null

header=$(echo '#include <yaml.h>' | gcc -E -x c - 2>/dev/null | sed -n 's/^# 1 "\(.*\/yaml.h\)".*/\1/p' | head -n 1)
if [ -z "$header" ] || ! unshare -m true 2>/dev/null; then
    echo "skipped: no mount namespaces here: make without a header"
    exit 0
fi
echo '#error hidden' >hidden.h
bare() { # bare COMMAND...: with the header hidden
    HEADER=$header HIDDEN=$PWD/hidden.h unshare -m sh -c 'mount --bind "$HIDDEN" "$HEADER" && exec "$@"' bare "$@"
}
bare make -s -C "$here/.." BUILD="$PWD/build" CUDA=0 >out 2>err
same "make without a header: exit code" 2 $?
same "make without a header: one line, but for make's own" 1 "$(grep -cv '^make' err)"
holds "names header and package" grep -q 'not found: yaml.h (libyaml-dev);' err
holds "names make setup" grep -q 'make setup' err
holds "names the way without root" grep -q 'setup.sh unpack DIR' err
same "nothing is compiled" 0 "$(grep -c "  CC" out)"
# What says so is not deaf: with the header there, nothing is missed.
sh "$here/setup.sh" headers gcc >out 2>err
same "all headers there: exit code" 0 $?
check "no compiler" 1 "not found: nosuchcc (gcc);" sh "$here/setup.sh" headers nosuchcc
exit $failed
