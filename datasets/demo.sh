#!/bin/sh
# demo.sh KDIFFE: makes the demo data set if it is not there and trains on it; about two minutes on two cores.
set -eu
kdiffe=$1
if [ ! -f data/demo/demo.train.inter ]; then
    "$kdiffe" synth data/demo --force --users=3000 --items=1200 --tastes=40 --interactions=12 \
        --modalities=image:64,text:64,audio:32 --seed=1
fi
"$kdiffe" train data/demo --out=runs/demo --overwrite --config=datasets/demo.yaml
echo "next: $kdiffe recommend runs/demo --users=all --k=10 --out=top10.tsv"
