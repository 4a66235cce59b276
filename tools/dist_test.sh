#!/usr/bin/env bash
# Evaluates on several GPUs, or on several CPU processes where there is no GPU.
#   bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each of them.
set -euo pipefail
if [ $# -lt 3 ]; then echo "usage: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]" >&2; exit 2; fi
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" test.py "$3" "$1" "$2" "${@:4}"
