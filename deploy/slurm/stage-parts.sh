#!/usr/bin/env bash
# Copies the parts of this node's ranks from a shared folder to a folder of the node, once.
#
#   RANKS_PER_NODE=2 srun --ntasks-per-node=1 stage-parts.sh SHARED LOCAL
#
# Node n gets the parts n * RANKS_PER_NODE and following, as srun --distribution=block places
# ranks. The manifest is copied last: a folder without it is not read.
set -euo pipefail
shared=${1:?usage: stage-parts.sh SHARED LOCAL}
local=${2:?usage: stage-parts.sh SHARED LOCAL}
first=$((SLURM_NODEID * RANKS_PER_NODE))

mkdir -p "$local"
if cmp --silent "$shared/manifest.json" "$local/manifest.json"; then
    exit 0
fi
rm -f "$local/manifest.json"
for ((part = first; part < first + RANKS_PER_NODE; part++)); do
    folder=$(printf 'part-%05d' "$part")
    rm -rf "${local:?}/$folder"
    cp -r "$shared/$folder" "$local/"
done
cp "$shared/manifest.json" "$local/.manifest.json"
mv "$local/.manifest.json" "$local/manifest.json"
