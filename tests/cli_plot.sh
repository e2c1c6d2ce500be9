#!/bin/sh
# bench/plot.py from outside: what it refuses and, where matplotlib is installed, what it draws.
set -u
plot=$PWD/bench/plot.py
. "$(dirname "$0")/checks.sh"
export PYTHONDONTWRITEBYTECODE=1
if ! command -v python3 >out; then
    echo "skipped: no python3 here: bench/plot.py"
    exit 0
fi

small="--batch=32 --dim=8 --hidden=16 --steps=3 --attention.walks=2 --attention.walk_steps=8 --device=cpu --threads=1"
check "synth" 0 "" "$KDIFFE" synth data --users=60 --items=40 --tastes=4 --seed=3
check "a run" 0 "" "$KDIFFE" bench data --iterations=1 --json=old.json $small
python3 - <<'END' || fail "a run of one op"
import json
run = json.load(open("old.json"))
run["ops"] = [op for op in run["ops"] if op["op"] == "adam"]
json.dump(run, open("new.json", "w"))
END
head -c 300 old.json >cut.json
sed 's/"med_us":.*,/"med_us": "fast",/' old.json >words.json
sed 's/"copy_GB.s":.*,/"copy_GB\/s": NaN,/' old.json >nan.json
echo '[1, 2]' >list.json
echo '# kdiffe 0.1.0' >table

for file in cut.json words.json nan.json list.json table none.json .; do
    check "not a benchmark: $file" 3 "plot.py: $file: " python3 "$plot" old.json $file --out=x.svg
done
check "an unknown option" 2 "--sorted" python3 "$plot" old.json --out=x.svg --sorted
check "no file" 2 "bench" python3 "$plot" --out=x.svg
check "no picture" 2 "--out" python3 "$plot" old.json
check "three files" 2 "not 3" python3 "$plot" old.json old.json old.json --out=x.svg
check "a picture of another kind" 2 ".png" python3 "$plot" old.json --out=x.jpg

# names FILE PICTURE: the text of a well-formed picture has the name of every op, the total but for
names() {
    python3 - "$1" "$2" <<'END'
import json, sys
import xml.etree.ElementTree as tree
ops = [op["op"] for op in json.load(open(sys.argv[1]))["ops"]]
texts = {"".join(e.itertext()).strip() for e in tree.parse(sys.argv[2]).iter() if e.tag.endswith("}text")}
missing = [op for op in ops if op != "epoch_total" and op.replace("epoch_", "") not in texts]
sys.exit(" ".join(missing) if missing or len(ops) < 20 else 0)
END
}

if python3 -c 'import matplotlib' 2>err; then
    check "one run" 0 "" python3 "$plot" old.json --out=one.svg
    holds "names every op" names old.json one.svg
    check "the same run again" 0 "" python3 "$plot" old.json --out=again.svg
    holds "gives the same bytes" cmp -s one.svg again.svg
    check "two runs, one of them of one op" 0 "" python3 "$plot" new.json old.json --out=two.svg
    holds "name every op" names old.json two.svg
    holds "and both files" sh -c 'grep -q "before, new.json" two.svg && grep -q "after, old.json" two.svg'
    check "pixels" 0 "" python3 "$plot" new.json --out=new.png
    holds "are a PNG" sh -c 'head -c 4 new.png | grep -q PNG'
    check "a folder that is not there" 1 "nowhere" python3 "$plot" new.json --out=nowhere/x.svg
else
    check "no matplotlib" 1 "pip install matplotlib" python3 "$plot" old.json --out=x.svg
    echo "skipped: python3 has no matplotlib: what bench/plot.py draws"
fi
holds "nothing that was refused is there" sh -c '! ls | grep -q "^x\."'
holds "nothing half-written" sh -c '! ls | grep -q "\.tmp\."'
exit $failed
