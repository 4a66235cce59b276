#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: starts a tool on PROCESSES ranks with torchrun.
#   tools/launch.sh TOOL PROCESSES [arguments of the tool]
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
tool=$1 processes=$2
if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then echo "error: PROCESSES=$processes is no positive number" >&2; exit 2; fi
cores=$(nproc 2>/dev/null || echo "$processes")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( cores / processes > 0 ? cores / processes : 1 ))}
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$tools/$tool" "${@:3}" --launcher pytorch
