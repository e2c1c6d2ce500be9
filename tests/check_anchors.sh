#!/bin/sh
# Citations of the documents: docs/NAME.md and docs/NAME.md#anchor in the sources, and the links of Markdown files, must lead to
# a file and to one of its headings. Sources cite docs/model.md by anchor, not by a section's number.
# usage: tests/check_anchors.sh    from the repository's root
export LC_ALL=C
found=$(mktemp) || exit 1
trap 'rm -f "$found"' EXIT

# FILE:LINE:CITATION, as it stands.
sources=$(ls -d src include tests bench Makefile 2>/dev/null)
grep -rnoIE --exclude=check_anchors.sh 'docs/[A-Za-z0-9_-]+\.md(#[A-Za-z0-9_-]+)?' $sources | grep -v '\.md:[0-9]*:' >"$found"
grep -rnoE --include='*.md' '\]\([^)# :]*\.md(#[^) ]*)?\)|\]\(#[^) ]*\)' README.md docs $sources | sed 's/](\(.*\))$/\1/' >>"$found"

awk '
# The anchors of a document as GitHub makes them; a heading that stands again gets -1, -2, ...
function read_headings(file,    line, code, slug, times) {
    known[file] = 0
    while ((getline line < file) > 0) {
        known[file] = 1
        if (line ~ /^ *```/) code = !code
        if (code || line !~ /^#+ /) continue
        slug = tolower(line)
        sub(/^#+ +/, "", slug)
        sub(/ *#* *$/, "", slug)
        slug = without_links(slug)
        gsub(/[!-,.\/:-@\[-^`{-~]/, "", slug)
        gsub(/ /, "-", slug)
        times = seen[file, slug]++
        anchor[file, times ? slug "-" times : slug] = 1
    }
    close(file)
}
function without_links(text) { # [words](address) -> words
    while (match(text, /\]\([^)]*\)/)) text = substr(text, 1, RSTART - 1) substr(text, RSTART + RLENGTH)
    return text
}
# A path without . and .. in it.
function plain(path,    part, n, i, out, depth) {
    n = split(path, part, "/")
    for (i = 1; i <= n; i++) {
        if (part[i] == "..") depth--
        else if (part[i] != "." && part[i] != "") out[++depth] = part[i]
    }
    path = out[1]
    for (i = 2; i <= depth; i++) path = path "/" out[i]
    return path
}
{
    match($0, /:[0-9]+:/)
    file = substr($0, 1, RSTART - 1)
    place = file substr($0, RSTART, RLENGTH - 1)
    cited = substr($0, RSTART + RLENGTH)
    hash = index(cited, "#")
    target = hash ? substr(cited, 1, hash - 1) : cited
    wanted = hash ? substr(cited, hash + 1) : ""
    if (file ~ /\.md$/) { # a link starts from the folder of its file
        folder = file
        sub(/[^\/]*$/, "", folder)
        target = target == "" ? file : plain(folder target)
    }
    if (!(target in known)) read_headings(target)
    if (!known[target]) problem = "no such file"
    else if (hash && !((target, wanted) in anchor)) problem = "no such heading"
    else problem = ""
    if (problem) print place ": " target (hash ? "#" wanted : "") ": " problem
    bad += problem != ""
}
END {
    if (!bad) print "anchors: " NR " citations"
    exit bad > 0
}' "$found"
status=$?

if grep -rnIE --exclude=check_anchors.sh 'MODEL(\.md)? section' $sources; then
    echo 'cite docs/model.md#anchor instead' >&2
    status=1
fi
exit $status
