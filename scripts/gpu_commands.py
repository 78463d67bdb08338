"""Checks of a GPU by whole commands, for gpu_checks.py: the tests, several trials on one card, and BUSI's suites."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
RECIPES = """extends: paper
segmentation: {{epochs: {epochs}, warmup_epochs: 1}}
classification: {{epochs: {epochs}, warmup_epochs: 1}}
"""


class SkippedError(Exception):
    """A part has not what it needs; says what."""


def call(*command: str, limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command of this checkout to its end.

    Raises:
        AssertionError: it failed; says its last line.
    """
    path = os.pathsep.join(str(PROJECT / folder) for folder in ("benchmark", "tests"))
    known = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, env=known, cwd=PROJECT, timeout=limit_s
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [""]
        raise AssertionError(f"`{' '.join(command[:3])}` ended with {done.returncode}: {said[-1]}")
    return done


def check_tests(device: str) -> str:
    """The tests that are marked `gpu`."""
    if device != "cuda":
        raise SkippedError("no GPU")
    return call("pytest", "-q", "-m", "gpu", "-n", "0", "tests/test_gpu.py", limit_s=240).stdout.splitlines()[-1]


def check_workers(device: str) -> str:
    """Trials of the suite `demo` a minute, by how many run on the card at once."""
    said = []
    for workers in (1, 2, 3):
        with tempfile.TemporaryDirectory() as runs:
            started = time.perf_counter()
            what = ["--suite", "demo", "--device", device, "--workers", str(workers), "--runs", runs]
            call("usfm_bench", "run", *what, limit_s=300)
            trials = len(list(Path(runs).rglob("record.json")))
        said.append(f"{workers}: {60 * trials / (time.perf_counter() - started):.1f}")
    return f"trials of `demo` a minute by workers, with their start: {'; '.join(said)}"


def check_suite(suite: str, device: str, data_root: Path | None, epochs: int, model: str) -> str:
    """One trial of a suite on real data by the recipe `paper` with few epochs."""
    if data_root is None or not (data_root / "Dataset_BUSI_with_GT").is_dir():
        raise SkippedError("no Dataset_BUSI_with_GT; --data-root names the folder that holds it")
    with tempfile.TemporaryDirectory() as folder:
        profile, runs = Path(folder, "short.yaml"), Path(folder, "runs")
        profile.write_text(RECIPES.format(epochs=epochs))
        what = ["--suite", suite, "--profile", str(profile), "--models", model, "--seeds", "1"]
        where = ["--device", device, "--data-root", str(data_root), "--runs", str(runs)]
        call("usfm_bench", "run", *what, *where, limit_s=400)
        [path] = runs.rglob("record.json")
        record = json.loads(path.read_text())
    cost = record["cost"]
    scores = ", ".join(f"{k} {v:.3f}" for k, v in record["scores"].items() if isinstance(v, float))
    return (
        f"{model}, {epochs} epochs in {record['environment']['precision']}: {cost['train_images_per_s']:.0f} images/s "
        f"in training, {cost['wall_s']:.0f} s, {cost['peak_memory_mb']:.0f} MiB; {scores}"
    )
