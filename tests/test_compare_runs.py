"""`scripts/compare_runs.py`: two runs folders, trial by trial."""

import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "compare_runs.py"))
TRIAL = Path("demo/tiny/net/smoke/fold-0/seed-0")


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """Two runs folders with the same two trials."""
    cases = pd.DataFrame({"case_id": ["a", "b", "c"], "DSC": [0.5, np.nan, 0.25], "missed": [False, True, False]})
    for trial in (TRIAL, TRIAL.with_name("seed-1")):
        (tmp_path / "old" / trial).mkdir(parents=True)
        cases.to_parquet(tmp_path / "old" / trial / "cases.parquet")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    return tmp_path / "old", tmp_path / "new"


def compared(two, capsys) -> tuple[int, list[str]]:
    return SCRIPT["main"](*map(str, two)), capsys.readouterr().out.splitlines()


def change(runs: Path, **columns) -> None:
    path = runs / TRIAL / "cases.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path)


def test_equal_folders_are_equal(two, capsys):
    assert compared(two, capsys) == (0, ["0 of 2 trials differ"])


def test_the_last_bit_of_one_score_is_found_and_measured(two, capsys):
    change(two[1], DSC=[np.nextafter(0.5, 1), np.nan, 0.25])
    assert compared(two, capsys) == (
        1,
        [f"{TRIAL}: DSC: 1 of 3 cases, by up to 1.11e-16", "1 of 2 trials differ"],  # 2**-53
    )


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"DSC": [0.5, 0.75, 0.25]}, "DSC: 1 of 3 cases, 1 undefined in one of the two"),
        ({"DSC": [0.5, 0.75, 0.5]}, "DSC: 2 of 3 cases, by up to 0.25, 1 undefined in one of the two"),
        ({"DSC": np.float32([0.5, np.nan, 0.25])}, "DSC: float64 -> float32"),
        ({"missed": [True, True, False]}, "missed: 1 of 3 cases"),
        ({"HD95": 1.0}, "new columns: HD95"),
        ({"case_id": ["a", "c", "b"]}, "other cases, or another order: 3 -> 3 rows"),
    ],
)
def test_each_kind_of_difference_is_named(two, capsys, columns, line):
    change(two[1], **columns)
    assert compared(two, capsys) == (1, [f"{TRIAL}: {line}", "1 of 2 trials differ"])


def test_a_trial_of_one_folder_alone_differs(two, capsys):
    shutil.rmtree(two[0] / TRIAL)
    assert compared(two, capsys) == (1, [f"{TRIAL}: missing in {two[0]}", "1 of 2 trials differ"])


def test_an_empty_folder_is_no_equal_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare_runs.py", str(tmp_path), str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "compare_runs.py"), run_name="__main__")
    assert "holds no cases.parquet" in capsys.readouterr().err
