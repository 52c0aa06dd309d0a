#!/usr/bin/env bash
# Gradescope runs this once, when the autograder is built: it installs SameLoop into a virtual environment.
set -euo pipefail
root="${AUTOGRADER_ROOT:-/autograder}"
python="${PYTHON:-python3}"
export SAMELOOP_CACHE="$root/cache"
cd "$root/source"

# Ubuntu's Python comes without venv.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$(basename "$python")-venv"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    { echo "SameLoop needs Python 3.10 or newer: choose a newer base image"; exit 1; }

"$python" -m venv "$root/venv"
install() { "$root/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
# PyPI's torch for Linux brings 3 GB of CUDA along. The index with the CPU builds, which PyTorch's installation page
# names, can be given in TORCH_INDEX; then the image stays small.
if [ -n "${TORCH_INDEX:-}" ]; then
    install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
fi
install -c constraints.txt ./sameloop
"$root/venv/bin/sameloop" fetch

# A first check: if this machine cannot judge a right loop, it is better to know now. It leaves the model in the cache.
"$root/venv/bin/sameloop" check sameloop/manual_loop/minimal.py
