#!/usr/bin/env bash
#SBATCH --job-name=gnnflow
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --time=04:00:00
#
# Trains on CPU nodes, one rank for each part and for each socket of a node.
#
#   sbatch deploy/slurm/train-cpu.sh PARTS [options of gnnflow-train]
#
# nodes * ntasks-per-node must be the number of parts: gnnflow-partition --num-parts 8 --hosts 4.
# GNNFLOW_VENV   virtual environment to use, default .venv
# SRUN_MPI       how srun starts MPI: pmix (Open MPI), pmi2 (MPICH), cray_shasta; default pmix
# LOCAL_PARTS    folder on each node's own disk to copy the node's parts to first
set -euo pipefail
parts=${1:?usage: sbatch train-cpu.sh PARTS [options of gnnflow-train]}
shift

# shellcheck disable=SC1091
source "${GNNFLOW_VENV:-.venv}/bin/activate"

# SLURM does not hand these on to steps by itself.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

if [[ -n ${LOCAL_PARTS:-} ]]; then
    export RANKS_PER_NODE=$((SLURM_NTASKS / SLURM_NNODES))
    srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 \
        "$SLURM_SUBMIT_DIR/deploy/slurm/stage-parts.sh" "$parts" "$LOCAL_PARTS"
    parts=$LOCAL_PARTS
fi

# Consecutive ranks share a node, as consecutive parts share a host.
srun --mpi="${SRUN_MPI:-pmix}" --distribution=block --cpu-bind=cores --kill-on-bad-exit=1 \
    gnnflow-train "$parts" --threads "$SLURM_CPUS_PER_TASK" --out "runs/${SLURM_JOB_ID}" "$@"
