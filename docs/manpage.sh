#!/bin/sh
# The man page kdiffe(1), made from the program's own --help so that nothing is written twice.
# usage: docs/manpage.sh PROGRAM > kdiffe.1
set -eu
program=$1

# Text as it stands: backslashes and hyphens escaped, no line read as a request.
verbatim() {
    echo .nf
    sed 's/\\/\\e/g; s/-/\\-/g; s/^\([.'\'']\)/\\\&\1/'
    echo .fi
}

version=$("$program" --version)
echo ".TH KDIFFE 1 \"\" \"$version\" \"User commands\""
echo '.SH NAME'
echo 'kdiffe \- train KDiffE, knowledge-aware diffusion-enhanced multimedia recommendation'
echo '.SH SYNOPSIS'
"$program" --help | sed -n '1s/^usage: //p' | verbatim
echo '.SH DESCRIPTION'
"$program" --help | sed 1,2d | verbatim
echo '.SH COMMANDS'
"$program" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | while read -r command; do
    echo ".SS $command"
    "$program" "$command" --help | verbatim
done
