#!/usr/bin/env bash
# Build the wheel, install it alone (no torch) in a fresh environment, and use it: reporting must not need training.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" .
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" "$work"/usfm_bench-*.whl
cd "$work"
bench=$work/venv/bin/usfm-bench
"$bench" --help >/dev/null
"$bench" data list
"$bench" models show usfm
"$bench" run --suite demo --dry-run >/dev/null
if "$bench" run --suite demo; then echo "run should have asked for the extra [train]" >&2; exit 1; fi
"$work/venv/bin/python" - <<'PY'
import importlib.util
assert importlib.util.find_spec("torch") is None, "the base install brings torch"
import usfm_bench.reporting, usfm_bench.reporting.writers.html, usfm_bench.reporting.figures, usfm_bench.regression.check, usfm_bench.results.store, usfm_bench.tasks.scoring, usfm_bench.stats
PY
echo "The wheel works without torch."
