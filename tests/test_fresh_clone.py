"""The commands that the README shows, as a newcomer types them in a fresh clone."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from usfm_bench.core.files import write_text

PROJECT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The last commit, with a .venv that calls the Python of these tests on the clone's own code."""
    if not (PROJECT / ".git").exists() or not all(map(shutil.which, ("git", "make"))):
        pytest.skip("needs a checkout, git and make")
    folder = tmp_path_factory.mktemp("fresh") / "usfm-bench"
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, more in {"python": "", "usfm-bench": "-m usfm_bench"}.items():
        code, python = shlex.quote(str(folder / "benchmark")), shlex.quote(sys.executable)
        write_text(programs / name, f'#!/bin/sh\nPYTHONPATH={code} exec {python} {more} "$@"\n')
        (programs / name).chmod(0o755)
    (folder / ".venv" / ".ready").touch()
    return folder


@pytest.fixture(scope="module")
def shown():
    """The three commands, without what a comment or a sentence adds."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    return [
        line.partition("#")[0].strip()
        for line in re.findall(r"^    (make demo|usfm-bench .+|make demo .+)$", text, re.M)
    ]


def typed(clone, command, home):
    path = f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PATH": path,
        "HOME": str(home),
    }
    return subprocess.run(["bash", "-c", command], cwd=clone, env=known, capture_output=True, text=True, timeout=1200)


def test_the_demo_ends_with_tables_a_page_and_what_to_type_next(clone, shown, tmp_path):
    done = typed(clone, shown[0], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "**Table 1." in done.stdout
    assert "**Table 2." in done.stdout
    *_, page, following = done.stdout.splitlines()
    assert (clone / page.rpartition(" ")[2]).stat().st_size > 100_000
    assert "usfm-bench data add NAME FOLDER" in following


def test_an_own_folder_is_read_and_the_command_that_is_named_next_trains_on_it(clone, shown, tmp_path):
    rng = np.random.default_rng(0)
    for name, radius in (("benign", 8), ("malignant", 14)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(30):
            image = rng.integers(0, 90, (64, 64), dtype=np.uint8)
            cv2.circle(image, (32, 32), radius, 200, -1)
            cv2.imwrite(str(tmp_path / "images" / name / f"P{i:02d}.png"), image)
    added = typed(clone, shown[1], tmp_path)
    assert added.returncode == 0, added.stderr
    assert "benign: 30" in added.stdout
    [following] = re.findall(r"^usfm-bench run .+", added.stdout, re.M)
    trained = typed(clone, following, tmp_path)
    assert trained.returncode == 0, trained.stderr
    [report] = re.findall(r"usfm-bench report .+", trained.stdout + trained.stderr)
    table = typed(clone, report, tmp_path)
    assert table.returncode == 0, table.stderr
    assert "clinic" in table.stdout


def test_the_papers_tables_are_planned_and_what_is_missing_is_said(clone, shown, tmp_path):
    command = shown[2].partition(";")[0]
    assert command.startswith("usfm-bench run --suite paper --profile paper --data-root ")
    planned = typed(clone, f"{command} --dry-run", tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "usfm / fold-0 / seed-4" in planned.stdout
    assert "its data is not here and its weights are missing" in planned.stdout
