#!/bin/sh
# Completions of kdiffe's command line for a shell, made from the program's own --help so that nothing is written twice.
# usage: docs/completions.sh bash|zsh PROGRAM > FILE
set -eu
shell=$1 program=$2

# options: --help of one command on stdin; a line an option, fields separated by tabs: its name, with `=` if a value follows,
# what that value is (none, value, folder, file, or the words themselves), and its description. Options are read from the
# usage, from the list below it, and from the configuration keys, whose names stand without `=`.
options() {
    awk '
    function note(name, kind, about) {
        if (name == "--key=") return
        if (!(name in kinds)) order[++count] = name
        if (!(name in kinds) || kinds[name] == "value") kinds[name] = kind
        if (about != "") abouts[name] = about
    }
    function kind_of(place) { # what --help writes for a value
        if (place ~ /^(DIR|RUN|OUT)$/) return "folder"
        if (place ~ /FILE|\.json$/) return "file"
        if (place ~ /^[a-z]+(\|[a-z]+)*$/) { gsub(/\|/, " ", place); return place }
        return "value"
    }
    # Takes the option at the start of a text; returns how long it is, 0 if there is none.
    function take(text, about,   place) {
        if (!match(text, /^--[a-z][a-z_.-]*(=[^] ]+)?/)) return 0
        text = substr(text, 1, RLENGTH)
        place = index(text, "=")
        if (place) note(substr(text, 1, place), kind_of(substr(text, place + 1)), about)
        else note(text, "none", about)
        return length(text)
    }
    /^$/ { after_usage = 1 }
    !after_usage {
        sub(/ -- .*/, "") # what follows is another command
        while ((at = index($0, "--")) > 0) {
            $0 = substr($0, at)
            taken = take($0, "")
            $0 = substr($0, taken > 0 ? taken + 1 : 3)
        }
        next
    }
    /^configuration keys/ { keys = 1 }
    keys && /^  --/ {
        match($0, /^  --[a-z][a-z_.]*/)
        name = substr($0, 3, RLENGTH - 2)
        about = substr($0, RLENGTH + 1)
        sub(/^[A-Z]* +/, "", about)
        name = name (name ~ /\.$/ ? "" : "=")
        note(name, "value", about)
        next
    }
    keys && /^   / {
        sub(/^ */, "")
        if ($0 ~ /^(one|any) of /) {
            sub(/^(one|any) of /, "")
            sub(/ \[.*/, "")
            gsub(/,/, "")
            kinds[name] = $0
        } else if ($0 ~ /^true or false/) kinds[name] = "true false"
        else if ($0 ~ /^a path/) kinds[name] = "file"
    }
    !keys && /^  --/ {
        text = substr($0, 3)
        about = match(text, /   *[^ ]/) ? substr(text, RSTART + RLENGTH - 1) : ""
        if (text ~ /^--[a-z-]+=[a-z]+ /) about = "" # it is about one value of several
        while ((taken = take(text, about)) > 0) {
            text = substr(text, taken + 1)
            if (!sub(/^ --/, "--", text)) break
        }
    }
    END { for (i = 1; i <= count; i++) printf "%s\t%s\t%s\n", order[i], kinds[order[i]], abouts[order[i]] }
    '
}

tab=$(printf '\t')
keys=$("$program" train --help | sed -n '/^configuration keys/,$p' | { echo && cat; } | options)
# A command whose usage has --key=value takes every key that training lists, after its own options. An option that is named
# like a key takes the values of the key.
options_of() {
    help=$("$program" "$1" --help)
    all=no
    if printf '%s\n' "$help" | sed '/^$/q; s/ -- .*//' | grep -qe '--key=value'; then all=yes; fi
    {
        printf '%s\n' "$help" | options
        printf -- '--help\tnone\ttells the options and gives an example\n'
        echo keys
        printf '%s\n' "$keys"
    } | awk -F '\t' -v all=$all '
        $0 == "keys" { given = 1; next }
        given && !($1 in kind) && all == "no" { next }
        !($1 in kind) { order[++count] = $1; kind[$1] = $2; about[$1] = $3 }
        kind[$1] == "value" { kind[$1] = $2 }
        END { for (i = 1; i <= count; i++) printf "%s\t%s\t%s\n", order[i], kind[order[i]], about[order[i]] }'
}
commands() { "$program" --help | sed -n "/^commands:/,/^\$/s/^  \([a-z]*\)  *\(.*\)/\1$tab\2/p"; }

to_bash() {
    cat <<'END'
# bash completion of kdiffe(1), made from its --help by docs/completions.sh.
_kdiffe() {
    local word=${COMP_LINE:0:COMP_POINT} command= options= values= folders= files= i
    word=${word##*[[:space:]]} # bash would break it at `=`
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do # the command is the first word, after `launch ... --` the one that follows
        if [[ -z $command ]]; then command=${COMP_WORDS[i]}; fi
        if [[ $command = launch && ${COMP_WORDS[i]} = -- ]]; then command=; fi
    done
    case $command in
END
    printf '    "") options="%s --help --version" ;;\n' "$(commands | cut -f 1 | tr '\n' ' ' | sed 's/ $//')"
    commands | while IFS=$tab read -r command _; do
        echo "    $command)"
        options_of "$command" | awk -F '\t' '
            { options = options " " $1 }
            $2 == "folder" { folders = folders " " $1 }
            $2 == "file" { files = files " " $1 }
            $2 !~ /^(none|value|folder|file)$/ { n = split($2, word, " "); for (i = 1; i <= n; i++) values = values " " $1 word[i] }
            END {
                printf "        options=\"%s\"\n        values=\"%s\"\n", substr(options, 2), substr(values, 2)
                printf "        folders=\"%s \" files=\"%s \"\n        ;;\n", folders, files
            }'
    done
    cat <<'END'
    *) return ;;
    esac
    local IFS=$'\n'
    if [[ $word = --*=* ]]; then
        if [[ $folders = *" ${word%%=*}= "* ]]; then
            compopt -o filenames
            COMPREPLY=($(compgen -d -- "${word#*=}"))
        elif [[ $files = *" ${word%%=*}= "* ]]; then
            compopt -o filenames
            COMPREPLY=($(compgen -f -- "${word#*=}"))
        else
            COMPREPLY=($(compgen -W "${values// /$'\n'}" -- "$word"))
            if [[ $COMP_WORDBREAKS = *=* ]]; then COMPREPLY=("${COMPREPLY[@]#*=}"); fi # the rest stands on the line
        fi
    elif [[ $word = -* || -z $command ]]; then
        COMPREPLY=($(compgen -W "${options// /$'\n'}" -- "$word"))
        if [[ ${COMPREPLY[0]} = *[=.] ]]; then compopt -o nospace; fi
    else
        compopt -o filenames
        COMPREPLY=($(compgen -d -- "$word"))
    fi
}
complete -F _kdiffe kdiffe
END
}

# specifications WHAT: zsh's words for lines of a name, a kind and a description, or of a name and a description.
specifications() {
    awk -F '\t' -v what="$1" '
        function quoted(text) {
            gsub(/[]:[]/, "\\\\&", text)
            gsub(/\047/, "\047\\\047\047", text)
            return text
        }
        what == "commands" { printf "        \047%s:%s\047\n", $1, quoted($2); next }
        {
            value = ":word:(" $2 ")"
            if ($2 == "none") value = ""
            if ($2 == "value") value = ":value: "
            if ($2 == "folder") value = ":folder:_files -/"
            if ($2 == "file") value = ":file:_files"
            printf "            \047%s%s[%s]%s\047\n", $1, ($1 ~ /[=.]$/ ? "-" : ""), quoted($3), value
        }'
}

to_zsh() {
    cat <<'END'
#compdef kdiffe
# zsh completion of kdiffe(1), made from its --help by docs/completions.sh.
_kdiffe() {
    local -a commands options
    commands=(
END
    commands | specifications commands
    cat <<'END'
    )
    if (( words[(I)--] && words[(I)--] < CURRENT )) && [[ $words[2] = launch ]]; then
        # after `launch ... --` stands another command
        (( CURRENT -= words[(I)--] - 1 ))
        words=(kdiffe "${(@)words[words[(I)--]+1,-1]}")
    fi
    if (( CURRENT == 2 )); then
        _describe -t commands command commands
        return
    fi
    case $words[2] in
END
    commands | while IFS=$tab read -r command _; do
        echo "    $command)"
        echo "        options=("
        options_of "$command" | specifications options
        echo "        )"
        echo "        ;;"
    done
    cat <<'END'
    *) return 1 ;;
    esac
    shift words
    (( CURRENT-- ))
    _arguments $options '*:folder:_files -/'
}
_kdiffe "$@"
END
}

case $shell in
bash) to_bash ;;
zsh) to_zsh ;;
*)
    echo "completions: expected bash or zsh, not $shell" >&2
    exit 1
    ;;
esac
