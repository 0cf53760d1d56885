#!/bin/bash
# Encode benchmarks by a Ray cluster on four nodes of Slurm; the command itself runs on the first.
#
#   sbatch docs/scale/slurm-ray.sh flickr --model jina-clip-v2 --data /shared/flickr30k --store /shared/store
#
# A node that fails costs what it was at. Submitted or queued again, the job goes on from what is stored.
#SBATCH --job-name=encode
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=08:00:00
#SBATCH --requeue
set -euo pipefail

export RAY_USAGE_STATS_ENABLED=0
# Whoever else is on these nodes must not send work to them.
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE RAY_AUTH_TOKEN

# The script runs on the first node. Two jobs may share it, so the port follows from the job.
HEAD="$(hostname):$((20000 + SLURM_JOB_ID % 10000))"
export HEAD

# In /dev/shm an object store would take a third of the memory; rows do not go through it.
# shellcheck disable=SC2016  # the variables are those of each node
srun --kill-on-bad-exit=0 bash -c '
    start=(ray start --block --disable-usage-stats --object-store-memory=78643200)
    if [[ "${SLURM_NODEID}" == 0 ]]; then
        exec "${start[@]}" --head --port="${HEAD##*:}" --include-dashboard=false
    fi
    until ray health-check --address "${HEAD}"; do sleep 2; done
    exec "${start[@]}" --address="${HEAD}"
' &
cluster=$!
trap 'kill "${cluster}"; wait "${cluster}" || true' EXIT

until ray health-check --address "${HEAD}"; do
    kill -0 "${cluster}"
    sleep 2
done
# Nodes that come later are taken, too.
python -m evals.encode "$@" --cluster "${HEAD}"
