#!/bin/bash
# `make install` below a folder of its own, and what the installed completions offer: all of it is made from --help.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
unset MAKEFLAGS MAKELEVEL MFLAGS

if ! command -v make >/dev/null 2>&1; then
    echo "skipped: no make here: make install"
    exit 0
fi
# -o all: what was built is installed, by whatever flags; nothing is built anew.
check "make install" 0 "" make -s -C "$here/.." -o all BUILD="$(dirname "$KDIFFE")" DESTDIR="$dir/to" PREFIX=/usr install
to=$dir/to/usr
same "the program runs" "$("$KDIFFE" --version)" "$("$to/bin/kdiffe" --version)"
for file in include/kdiffe/kdiffe.h lib/libkdiffe.so lib/pkgconfig/kdiffe.pc share/man/man1/kdiffe.1 share/bash-completion/completions/kdiffe share/zsh/site-functions/_kdiffe; do
    holds "installs $file" test -s "$to/$file"
done

# The library: what it shows is what its headers declare, and the example of docs/ runs with it.
library=$to/lib/libkdiffe.so
same "its soname is there" "$(readelf -d "$library" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')" "$(readlink "$library")"
declared=$(cat "$to"/include/kdiffe/*.h | tr '\n' ' ' | grep -oE 'KD_API [^(;]*\(' | grep -oE 'kd_[a-z_]+\($' | tr -d '(' | sort)
same "shows what is declared, no more" "$declared" "$(nm -D --defined-only "$library" | sed 's/.* //' | sort)"
sanitizer=$(nm -D "$library" | grep -q __asan_init && echo -fsanitize=address,undefined)
if command -v pkg-config >/dev/null 2>&1; then
    # shellcheck disable=SC2046,SC2086
    check "the example compiles" 0 "" "${CC:-gcc}" -std=c11 -Wall -Wextra -Werror $sanitizer -o example "$here/../docs/example.c" \
        $(PKG_CONFIG_PATH=$to/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dir/to pkg-config --cflags --libs kdiffe) "-Wl,-rpath,$to/lib"
    command -v g++ >/dev/null 2>&1 && export CXX=g++
    # shellcheck disable=SC2086
    check "each header alone, as C and where there is a compiler as C++" 0 "" bash -c 'for header; do
        for as in "c -std=c11" ${CXX:+"c++ -std=c++17"}; do
            echo "#include <kdiffe/$(basename "$header")>" | ${CC:-gcc} -Wall -Wextra -Werror -fsyntax-only -I"$0" -x $as - || exit 1
        done
    done' "$to/include" "$to"/include/kdiffe/*.h
    check "data for it" 0 "" "$KDIFFE" synth data --users=120 --items=60 --tastes=4 --modalities=image:8,text:8
    check "the example runs" 0 "" ./example data
    holds "it trains" grep -q '^epoch 2: loss [0-9.]*' out
    same "it recommends" 5 "$(grep -c '^user [^ ]*, item [^ ]*: -\{0,1\}[0-9.]*$' out)"
    check "the example says what is wrong" 3 "example: nowhere: No such file" ./example nowhere
    rm -r data
else
    echo "skipped: no pkg-config here: the library's example"
fi

# complete_line LINE: what bash would offer for the last word of a line, on one line; then what it is told about the offer.
complete_line() {
    bash --norc -c '
        compopt() { told="$told $1 $2"; }
        . "$1" || exit 1
        COMP_LINE=$2 COMP_POINT=${#2} told=
        line=${2//=/ = } # bash takes words apart at =
        read -ra COMP_WORDS <<<"$line"
        [[ $2 != *[[:space:]] ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p kdiffe | sed "s/.*-F \([^ ]*\) .*/\1/")
        echo "${COMPREPLY[*]}$told"' bash "$to/share/bash-completion/completions/kdiffe" "$1"
}
mkdir -p data runs/one && touch data.yaml
same "bash: a command" train "$(complete_line 'kdiffe tr')"
same "bash: all commands, and the program's own options" \
    "$("$KDIFFE" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | tr '\n' ' ')--help --version" "$(complete_line 'kdiffe ')"
same "bash: configuration keys, no space behind them" "--epochs= --epsilon= -o nospace" "$(complete_line 'kdiffe train --ep')"
same "bash: a configuration key" "--epochs= -o nospace" "$(complete_line 'kdiffe train --epo')"
same "bash: an option of the command" "--resume= -o nospace" "$(complete_line 'kdiffe train --resu')"
same "bash: an option without a value" --overwrite "$(complete_line 'kdiffe train --overw')"
same "bash: an option that only the usage names" "--out= -o nospace" "$(complete_line 'kdiffe attention data --ou')"
same "bash: --key=value stands for the keys" "--hidden= -o nospace" "$(complete_line 'kdiffe info data --hid')"
same "bash: a key with a free end" "--guidance_weight. -o nospace" "$(complete_line 'kdiffe train --guidance_w')"
holds "bash: no key where none is taken" test -z "$(complete_line 'kdiffe validate --ep')"
same "bash: words of a key" "auto cpu cuda" "$(complete_line 'kdiffe train data --device=')"
same "bash: words of an option" recbole "$(complete_line 'kdiffe convert --from=rec')"
same "bash: a folder" "data -o filenames" "$(complete_line 'kdiffe train da')"
same "bash: a folder as a value" "runs -o filenames" "$(complete_line 'kdiffe train data --out=ru')"
same "bash: a file as a value" "data.yaml -o filenames" "$(complete_line 'kdiffe train data --config=data.')"
same "bash: the command behind launch" train "$(complete_line 'kdiffe launch --gpus=8 -- tr')"
same "bash: its options" "--epochs= -o nospace" "$(complete_line 'kdiffe launch --gpus=8 -- train data --epo')"
same "bash: launch's own" "--gpus= -o nospace" "$(complete_line 'kdiffe launch --gp')"

# No option of --help is forgotten: those at the start of a line, and the keys.
for command in $("$KDIFFE" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    offered=" $(complete_line "kdiffe $command --") "
    for option in $("$KDIFFE" "$command" --help | sed -n 's/^  \(--[a-z][a-z_.-]*\).*/\1/p' | sort -u); do
        case $option in --key) continue ;; esac
        case $offered in *" $option "* | *" $option= "*) ;; *) fail "bash: $command $option is not offered" ;; esac
    done
    case $offered in *" --help "*) pass "bash: every option of $command" ;; *) fail "bash: $command: $offered" ;; esac
done

if ! command -v zsh >/dev/null 2>&1; then
    echo "skipped: no zsh here: its completion"
    exit $failed
fi
# Typed into a zsh of its own, which completes until nothing is left to ask, the line is printed instead of run.
cat >type.zsh <<'END'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= fpath=($1 \$fpath); autoload -Uz compinit && compinit -u -D; show() { print -r -- \"<\$BUFFER>\" }; zle -N show; bindkey '^X' show; print ready-\$((1 + 1))"
zpty -r -m shell line '*ready-2*'
zpty -w -n shell "$2"$'\t\x18'
zpty -r -m shell line '*<*>*'
print -r -- ${${line##*<}%%>*}
zpty -d shell
END
zsh_completes() { timeout 20 zsh -f type.zsh "$to/share/zsh/site-functions" "$1"; }
same "zsh: a command" "train " "$(zsh_completes 'kdiffe tr' | sed 's/^kdiffe //')"
same "zsh: a configuration key" "--epochs=" "$(zsh_completes 'kdiffe train --epo' | sed 's/^kdiffe train //')"
same "zsh: words of an option" "--from=recbole " "$(zsh_completes 'kdiffe convert --from=rec' | sed 's/^kdiffe convert //')"
same "zsh: a folder as a value" "--out=runs/" "$(zsh_completes 'kdiffe train --out=ru' | sed 's/^kdiffe train //')"
same "zsh: the command behind launch" "train " "$(zsh_completes 'kdiffe launch --gpus=8 -- tr' | sed 's/^kdiffe launch --gpus=8 -- //')"
same "zsh: its options" "--epochs=" "$(zsh_completes 'kdiffe launch -- train --epo' | sed 's/^kdiffe launch -- train //')"
exit $failed
