#!/bin/bash
# Encode benchmarks as 64 tasks of a Slurm array, one GPU each. The plan is made on a GPU of the same kind,
# since rows are stored by the kind of their device: a plan of a login node would be refused.
#
#   work=(flickr --model jina-clip-v2 --data /shared/flickr30k --store /shared/store)
#   srun --gres=gpu:1 --cpus-per-task=8 --mem=32G python -m evals.encode "${work[@]}" --make-plan /shared/plan.json
#   job=$(sbatch --parsable docs/scale/slurm-array.sh "${work[@]}" --plan /shared/plan.json)
#   printf -v run '%q ' python -m evals.run "${work[@]}"
#   sbatch --dependency="afterok:$job" --gres=gpu:1 --cpus-per-task=8 --mem=32G --wrap "$run"
#
# Tasks that failed, or ran out of time, are submitted again by their numbers: sbatch --array=3,17 docs/scale/slurm-array.sh …
#SBATCH --job-name=encode
#SBATCH --array=1-64
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
#SBATCH --requeue
set -euo pipefail

# As many as the array has. Slurm's own count would be 2 when two tasks are submitted again.
PARTS=${PARTS:-64}

# exec: Slurm's SIGTERM before a preemption then reaches Python, which gives up what it has claimed.
exec python -m evals.encode "$@" --shard "${SLURM_ARRAY_TASK_ID}/${PARTS}"
