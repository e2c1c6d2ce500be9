#!/bin/sh
# The program from outside: usage errors, exit codes, help, and a run from data to recommendations.
# KDIFFE is the program; prints one line a check and exits 1 if any fails.
set -u
. "$(dirname "$0")/checks.sh"

commands="convert validate info synth attention train eval recommend export"
check "--help" 0 "usage: kdiffe COMMAND" "$KDIFFE" --help
check "--version" 0 "kdiffe " "$KDIFFE" --version
for command in $commands; do
    check "--help lists $command" 0 "  $command " "$KDIFFE" --help
    check "$command --help" 0 "example: kdiffe $command" "$KDIFFE" "$command" --help
    check "help $command" 0 "usage: kdiffe $command" "$KDIFFE" help "$command"
    check "$command with an unknown option" 2 "kdiffe: " "$KDIFFE" "$command" a b --no-such-option=1
done
check "train --help lists keys" 0 "--attention.walks" "$KDIFFE" train --help
"$KDIFFE" >out 2>err
same "no command: exit code 2" 2 $?
check "unknown command names the nearest" 2 "the nearest is 'train'" "$KDIFFE" trian
check "help of an unknown command" 2 "the nearest is 'export'" "$KDIFFE" help exprot

check "synth" 0 "data" "$KDIFFE" synth data --users=120 --items=60 --modalities=image:8,text:4
printf 'epochs: 3\ndim: 8\nhidden: 8\ntopk: [5, 10]\nthreads: 1\n' >small.yaml
small=--config=small.yaml

check "validate" 0 "can be trained" "$KDIFFE" validate data
cp -r data nothing-held-out && rm nothing-held-out/*.valid.inter nothing-held-out/*.test.inter
check "validate: nothing to select by" 3 "neither a validation nor a test split" "$KDIFFE" validate nothing-held-out
check "train: nothing to select by" 3 "neither a validation nor a test split" "$KDIFFE" train nothing-held-out --out=run
check "convert: no such format" 2 "--from=FORMAT" "$KDIFFE" convert --from=csv data other

check "train without --out" 2 "--out=RUN" "$KDIFFE" train data
check "train without data" 2 "expected 1 word" "$KDIFFE" train --out=run
check "train on data that is not there" 3 "absent" "$KDIFFE" train absent --out=run
check "train: unknown key" 2 "unknown key 'epoch'; the nearest is 'epochs'" "$KDIFFE" train data --out=run --epoch=3
check "train: value out of range" 2 "dim: expected" "$KDIFFE" train data --out=run --dim=0
low="train: precision that this level of the CPU backend has not"
if KDIFFE_CPU=v2 "$KDIFFE" train data --out=run --device=cpu --dry-run 2>&1 | grep -q 'KDIFFE_CPU: '; then
    echo "skipped: this build has no level v2: $low"
else
    check "$low" 2 "precision: bf16 needs" env KDIFFE_CPU=v2 "$KDIFFE" train data --out=run --device=cpu --precision=bf16
fi
check "train: configuration that is not there" 2 "absent.yaml" "$KDIFFE" train data --out=run --config=absent.yaml
printf 'dim: 8\nattention:\n  walk: 4\n' >bad.yaml
check "train: file and line of an unknown key" 2 "bad.yaml:3: unknown key 'attention.walk'" \
    "$KDIFFE" train data --out=run --config=bad.yaml
check "train: a flag takes no value" 2 "--overwrite: takes no value" "$KDIFFE" train data --out=run --overwrite=false
check "train: the run folder cannot be made" 1 "data/data.user/run" "$KDIFFE" train data --out=data/data.user/run "$small"
holds "no run folder after errors" test ! -e run
check "train --dry-run" 0 "memory: " "$KDIFFE" train data --out=run --dry-run
holds "no run folder after --dry-run" test ! -e run

check "train" 0 "run folder: run" "$KDIFFE" train data --out=run "$small"
for file in config.yaml metrics.jsonl model.safetensors; do holds "run/$file" test -s "run/$file"; done
same "one record an epoch" 3 "$(grep -c '"event":"epoch"' run/metrics.jsonl)"
holds "metrics.jsonl begins and ends" sh -c 'head -n 1 run/metrics.jsonl | grep -q "\"event\":\"start\"" &&
    tail -n 1 run/metrics.jsonl | grep -q "\"best_epoch\""'
check "train refuses a run that is there" 2 "--overwrite" "$KDIFFE" train data --out=run "$small"
check "train from the saved configuration" 0 "run folder: again" \
    "$KDIFFE" train data --out=again --config=run/config.yaml
losses() { grep '"event":"epoch"' "$1/metrics.jsonl" | sed 's/,"seconds".*//'; }
same "the saved configuration gives the same run" "$(losses run)" "$(losses again)"
same "and the same model" "$(cksum <run/model.safetensors)" "$(cksum <again/model.safetensors)"
check "train --overwrite" 0 "run folder: again" "$KDIFFE" train data --out=again --overwrite "$small" --epochs=1
same "the earlier run is gone" 1 "$(grep -c '"event":"epoch"' again/metrics.jsonl)"
check "train --trace" 0 "" "$KDIFFE" train data --out=traced "$small" --trace=trace.json
holds "the trace names stages" grep -q '"name":"steps","ph":"X"' trace.json
holds "and ops" grep -q '"name":"infonce","ph":"X"' trace.json
holds "and is whole" test "$(tail -n 1 trace.json)" = "]}"
check "train --profile-steps" 0 "" "$KDIFFE" train data --out=window "$small" --trace=window.json --profile-steps=1:2
same "a step of two is traced" 1 "$(grep -c '"name":"bpr"' window.json)"
check "--profile-steps backwards" 2 "expected A:B" "$KDIFFE" train data --out=none "$small" --profile-steps=2:1
check "--trace into no folder" 1 "no/trace.json" "$KDIFFE" train data --out=none "$small" --trace=no/trace.json
holds "before the run" test ! -e none
check "semantics=paper" 0 "run folder: paper" "$KDIFFE" train data --out=paper "$small" --semantics=paper
holds "sets select_on" grep -q '^select_on: valid$' paper/config.yaml

check "eval" 0 "recall@10" "$KDIFFE" eval run --topk=5,10 --threads=1
check "eval --json" 0 '"test":{"recall@5"' "$KDIFFE" eval run --topk=5,10 --json --threads=1
test_of() { sed 's/.*"test":{\([^}]*\)}.*/\1/'; }
same "eval repeats the best epoch's metrics" "$(test_of <out)" "$(grep '"best":true' run/metrics.jsonl | tail -n 1 | test_of)"
check "eval takes no training keys" 2 "--epochs" "$KDIFFE" eval run --epochs=3
check "eval: cut-offs beyond the items" 0 "recall@1000" "$KDIFFE" eval run --topk=1000
check "eval of what is no run" 3 "model.safetensors" "$KDIFFE" eval data
check "synth of other data" 0 "other" "$KDIFFE" synth other --users=120 --items=60 --seed=7
check "eval on other data" 3 "hash" "$KDIFFE" eval run --data=other
mkdir broken && head -c 200 run/model.safetensors >broken/model.safetensors
check "eval of a model cut short" 3 "model.safetensors" "$KDIFFE" eval broken

check "recommend" 0 "" "$KDIFFE" recommend run --users=all --k=4 --out=top.tsv
same "a heading and four items a user" 481 "$(wc -l <top.tsv)"
same "ranks" 1,2,3,4 "$(sed 1d top.tsv | cut -f 3 | sort -un | paste -sd, -)"
fall() { sed 1d "$1" | awk '$3 > 1 && !($4 + 0 <= last) {bad = 1} {last = $4 + 0} END {exit bad}'; }
holds "scores fall" fall top.tsv
sed 1d top.tsv | cut -f 1 | sort -u | head -n 2 >users.txt
check "recommend for some users" 0 "" "$KDIFFE" recommend run --users=users.txt --k=4 --out=some.tsv
# A score's last digit may depend on how many users are ranked at once: BLAS has kernels for different shapes.
cut -f 1-3 some.tsv >some.lists
same "gives the same lists" 9 "$(cut -f 1-3 top.tsv | grep -cxFf some.lists)"
same "of those users" 8 "$(sed 1d some.tsv | wc -l)"
(cat users.txt && echo nobody) >unknown.txt
check "recommend: unknown user" 3 "unknown.txt:3: 'nobody'" "$KDIFFE" recommend run --users=unknown.txt --out=none.tsv
check "recommend: more items than there are" 0 "" "$KDIFFE" recommend run --users=users.txt --k=1000000 --out=all.tsv
check "recommend: k out of range" 2 "--k: expected" "$KDIFFE" recommend run --users=all --k=0 --out=none.tsv
check "recommend without --users" 2 "--users" "$KDIFFE" recommend run --out=none.tsv
check "recommend without --out" 2 "--out" "$KDIFFE" recommend run --users=all
check "recommend: output folder is not there" 1 "no/none.tsv" "$KDIFFE" recommend run --users=all --out=no/none.tsv
holds "nothing half-written" sh -c '! ls | grep -q "none.tsv\|\.tmp\."'

check "export" 0 "" "$KDIFFE" export run arrays
for file in embeddings.safetensors view.user.npy view.item.npy users.tsv items.tsv entities.tsv relations.tsv; do
    holds "arrays/$file" test -s "arrays/$file"
done
same "a row for each user" 121 "$(wc -l <arrays/users.tsv)"
check "export into a folder that cannot be made" 1 "users.txt/arrays" "$KDIFFE" export run users.txt/arrays
check "export makes the folders above its own" 0 "" "$KDIFFE" export run deep/er/arrays
mkdir outward && sed 's/"uEmbeds"/"..\/beds"/' run/model.safetensors >outward/model.safetensors
check "export: an array's name that leads out of the folder" 3 "'../beds'" "$KDIFFE" export outward arrays/inside
holds "writes nothing there" test ! -e arrays/beds.npy

# A stop that is asked for: the best model so far is kept, 128 + the signal.
"$KDIFFE" train data --out=stopped "$small" --epochs=1000000 >out 2>err &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -s stopped/model.safetensors ] && break
    sleep 0.5
done
kill -TERM "$pid"
wait "$pid"
same "SIGTERM: exit code" 143 $?
same "SIGTERM: says so in one line" 1 "$(grep -c "^kdiffe: " err)"
holds "SIGTERM: says which model is kept" grep -q "best model so far" out
check "SIGTERM: the model is whole" 0 "recall@20" "$KDIFFE" eval stopped

exit $failed
