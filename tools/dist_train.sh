#!/usr/bin/env bash
# Pre-trains on several GPUs, or on several CPU processes where there is no GPU.
#   bash tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each of them.
set -euo pipefail
if [ $# -lt 2 ]; then echo "usage: bash tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]" >&2; exit 2; fi
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" train.py "$2" "$1" "${@:3}"
