# Sourced by the cli_*.sh scripts: checks of $KDIFFE from outside, in a scratch folder that goes away at the end. One line a
# check, `ok NAME` or `FAIL NAME`; the script ends with `exit $failed`.
KDIFFE=${KDIFFE:-build/kdiffe}
case $KDIFFE in /*) ;; *) KDIFFE=$PWD/$KDIFFE ;; esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/kdiffe-cli-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

pass() { echo "ok    $1"; }
fail() {
    echo "FAIL  $1"
    failed=1
}

# check NAME CODE WORDS COMMAND...: the exit code, WORDS (if any) in the output, one line on stderr if it failed.
check() {
    name=$1 code=$2 words=$3
    shift 3
    "$@" >out 2>err
    got=$?
    if [ "$got" -ne "$code" ]; then
        fail "$name: exit code $got, expected $code: $(head -c 300 err)"
    elif [ -n "$words" ] && ! cat out err | grep -qF -- "$words"; then
        fail "$name: expected '$words' in: $(cat out err | head -c 300)"
    elif [ "$code" -ne 0 ] && [ "$code" -lt 128 ] && [ "$(wc -l <err)" -ne 1 ]; then
        fail "$name: expected one line on stderr, got $(wc -l <err)"
    else
        pass "$name"
    fi
}

# holds NAME TEST...: a condition on what a command left behind.
holds() {
    name=$1
    shift
    if "$@"; then pass "$name"; else fail "$name"; fi
}

# same NAME A B: two texts are equal and not empty.
same() {
    if [ -n "$2" ] && [ "$2" = "$3" ]; then pass "$1"; else fail "$1: '$2' and '$3'"; fi
}
