#!/usr/bin/env bash
# Install the wheel with the oldest versions that it allows (constraints-oldest.txt), and run tests that need no torch.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" .
wheel=$(echo "$work"/usfm_bench-*.whl)
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints-oldest.txt" \
  "$wheel[medical]" pytest hypothesis pytest-benchmark
# Old libraries warn of what newer ones removed; only the wheel is imported, not the sources.
"$work/venv/bin/python" -m pytest -q -p no:cacheprovider -o pythonpath=tests -W default \
  tests/test_draw.py tests/test_phantom.py tests/test_export.py tests/test_ranking.py tests/test_readers_layouts.py \
  tests/test_registry_and_plan.py tests/test_metrics_classification.py
echo "The wheel works with the oldest versions that it allows."
