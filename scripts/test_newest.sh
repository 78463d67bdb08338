#!/usr/bin/env bash
# Install the project with the newest libraries that a package index has, without constraints, and run the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[train,dev]'
# A warning of a library that is newer than the pins is no fault of this project yet.
OMP_WAIT_POLICY=passive "$work/venv/bin/python" -m pytest -q -n 2 --dist worksteal -p no:cacheprovider -W default
echo "The tests pass with the newest libraries."
