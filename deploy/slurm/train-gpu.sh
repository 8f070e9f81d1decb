#!/usr/bin/env bash
#SBATCH --job-name=gnnflow
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=04:00:00
#
# Trains on GPU nodes, one rank for each part and for each GPU.
#
#   sbatch deploy/slurm/train-gpu.sh PARTS [options of gnnflow-train]
#
# nodes * ntasks-per-node must be the number of parts, ntasks-per-node the GPUs of a node.
# GNNFLOW_VENV, SRUN_MPI and LOCAL_PARTS as in train-cpu.sh.
set -euo pipefail
parts=${1:?usage: sbatch train-gpu.sh PARTS [options of gnnflow-train]}
shift

# shellcheck disable=SC1091
source "${GNNFLOW_VENV:-.venv}/bin/activate"

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

if [[ -n ${LOCAL_PARTS:-} ]]; then
    export RANKS_PER_NODE=$((SLURM_NTASKS / SLURM_NNODES))
    srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 \
        "$SLURM_SUBMIT_DIR/deploy/slurm/stage-parts.sh" "$parts" "$LOCAL_PARTS"
    parts=$LOCAL_PARTS
fi

# Every rank sees all GPUs of its node and takes its own: NCCL needs to see its neighbours'.
srun --mpi="${SRUN_MPI:-pmix}" --distribution=block --cpu-bind=cores --gpu-bind=none \
    --kill-on-bad-exit=1 \
    gnnflow-train "$parts" --device cuda --threads "$SLURM_CPUS_PER_TASK" \
    --out "runs/${SLURM_JOB_ID}" "$@"
