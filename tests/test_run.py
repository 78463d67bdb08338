"""`usfm-bench run`, end to end, on phantoms small enough for a trial to take a second."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from usfm_bench.core import files as atomic
from usfm_bench.core.errors import BenchError
from usfm_bench.execution.engine import ENGINES
from usfm_bench.execution.outcome import Outcome, Tick
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.run import Tally, run_trials
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.models.networks import Classifier
from usfm_bench.specs.dataset import load_registry
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.training.checkpoint import Checkpoint

MICRO = "usfm-micro-scratch"


@pytest.fixture
def run(tmp_path, tiny_registry):
    """Runs trials in this process; gives the tally. `events` collects what was told."""

    def call(
        runs: str = "runs", *, registry: Path = tiny_registry, fresh: bool = False, events: list | None = None, **what
    ) -> Tally:
        suite = load_suite(what.pop("suite", "demo"))
        trials = plan_suite(suite, load_registry(registry), **({"datasets": ["tiny"], "models": [MICRO]} | what))
        return run_trials(
            trials,
            data_root=tmp_path,
            runs=tmp_path / runs,
            device="cpu",
            workers=1,
            fresh=fresh,
            tell=(events if events is not None else []).append,
            say=lambda text: None,
            keep=lambda kept: None,
        )

    return call


def cases_of(runs: Path) -> dict[str, pd.DataFrame]:
    found = sorted(runs.glob("*/*/*/*/fold-*/seed-*/cases.parquet"))
    return {str(path.parent.relative_to(runs)): pd.read_parquet(path) for path in found}


def assert_same_bits(a: Path, b: Path) -> None:
    left, right = cases_of(a), cases_of(b)
    assert left
    assert left.keys() == right.keys()
    for name in left:
        pd.testing.assert_frame_equal(left[name], right[name], check_exact=True)


def command(registry: Path, runs: Path, *more: str) -> list[str]:
    base = ["run", "--suite", "demo", "--registry", str(registry), "--runs", str(runs), "--device", "cpu"]
    return [sys.executable, "-m", "usfm_bench", *base, *more]


def test_both_tasks_end_in_complete_trials(run, tmp_path):
    tally = run(datasets=["tiny-lesion", "tiny"], seeds=[0], models=[MICRO, "unet-resnet18-scratch"])
    assert [o.status for o in tally.outcomes] == ["done"] * 3
    folder = tmp_path / "runs/demo/tiny-lesion/unet-resnet18-scratch/smoke/fold-0/seed-0"
    names = {"record.json", "cases.parquet", "predictions.npz", "history.csv", "weights.safetensors"}
    assert {p.name for p in folder.iterdir()} == names
    record = json.loads((folder / "record.json").read_text())
    assert record["definitions"]["HD95"] == "hd95.pooled.native.px@1"
    assert record["environment"]["threads"] == 2
    assert record["environment"]["versions"]["torch"]
    assert record["n_train"] + record["n_val"] + record["n_test"] == 24
    assert record["tuned"] is None
    [classified] = (json.loads(p.read_text()) for p in (tmp_path / "runs/demo/tiny").rglob("record.json"))
    assert classified["tuned"]["n"] == classified["n_val"]
    history = pd.read_csv(folder / "history.csv")
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert record["best_epoch"] == history["epoch"][history["val_score"].idxmax()]
    cases = pd.read_parquet(folder / "cases.parquet")
    assert {"case_id", "group_id", "class", "DSC", "HD95", "missed", "target_px"} <= set(cases.columns)


def test_nothing_written_names_this_machine(run, tmp_path):
    run(seeds=[0])
    for path in (tmp_path / "runs").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path


def test_a_second_run_does_nothing(run):
    run(seeds=[0])
    tally = run(seeds=[0, 1])
    assert len(tally.kept) == 1
    assert [o.spec.seed for o in tally.outcomes] == [1]


def test_seeds_differ_and_the_split_does_not(run, tmp_path):
    run(seeds=[0, 1])
    first, second = cases_of(tmp_path / "runs").values()
    assert list(first["case_id"]) == list(second["case_id"])
    assert not np.array_equal(first["p_benign"], second["p_benign"])


@pytest.mark.slow
def test_the_same_trial_in_another_process_gives_the_same_bits(run, tmp_path, tiny_registry):
    run(seeds=[0], datasets=["tiny", "tiny-lesion"])
    what = ["--datasets", "tiny,tiny-lesion", "--models", MICRO, "--seeds", "1"]
    subprocess.run(command(tiny_registry, tmp_path / "other", *what), check=True, capture_output=True)
    assert_same_bits(tmp_path / "runs", tmp_path / "other")


@pytest.mark.slow
def test_a_trial_resumed_at_an_epochs_end_gives_the_same_bits(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "_share", float("inf"))  # write after every epoch, however short
    run("whole", seeds=[0], datasets=["tiny", "tiny-lesion"])

    class StopAtEpochThree(list):
        def append(self, event):
            if isinstance(event, Tick) and event.row["epoch"] == 3:
                raise KeyboardInterrupt

    for dataset in ("tiny", "tiny-lesion"):
        with pytest.raises(KeyboardInterrupt):
            run("parts", seeds=[0], datasets=[dataset], events=StopAtEpochThree())
    assert len(list((tmp_path / "parts").rglob("state.pt"))) == 2
    events: list = []
    run("parts", seeds=[0], datasets=["tiny", "tiny-lesion"], events=events)
    assert [e.row["epoch"] for e in events if isinstance(e, Tick)] == [4, *range(4, 13)]
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    assert not list((tmp_path / "parts").rglob("state.pt"))


def kill_and_continue(registry: Path, folder: Path, moment: float) -> None:
    """SIGKILL `run` some seconds after its first trial is done, and run it to its end."""
    what = ["--datasets", "tiny,tiny-lesion", "--models", MICRO, "--seeds", "2"]
    runs = folder / f"killed-{moment}"
    process = subprocess.Popen(command(registry, runs, *what), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(runs.rglob("record.json")):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command(registry, runs, *what), check=True, capture_output=True)


@pytest.mark.slow
def test_killing_a_run_at_any_moment_costs_nothing_finished(run, tmp_path, tiny_registry):
    run("whole", seeds=[0, 1], datasets=["tiny", "tiny-lesion"])
    for moment in np.random.default_rng(0).uniform(0, 4, size=4).round(3):
        kill_and_continue(tiny_registry, tmp_path, float(moment))
        assert_same_bits(tmp_path / "whole", tmp_path / f"killed-{moment}")


@pytest.mark.slow
def test_workers_give_the_same_bits_as_one_process(run, tmp_path, tiny_registry):
    run(seeds=[0, 1])
    what = ["--datasets", "tiny", "--models", MICRO, "--seeds", "2", "--workers", "2"]
    subprocess.run(command(tiny_registry, tmp_path / "many", *what), check=True, capture_output=True)
    assert_same_bits(tmp_path / "runs", tmp_path / "many")


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_own_trial_only(tmp_path, tiny_registry):
    registry = load_registry(tiny_registry)
    trials = plan_suite(load_suite("demo"), registry, datasets=["tiny"], models=[MICRO], seeds=[0, 1])
    outcomes: list[Outcome] = []

    def kill_first(event) -> None:
        if isinstance(event, Outcome):
            outcomes.append(event)
        elif not outcomes and event.row["epoch"] == 1:
            [child] = multiprocessing.active_children()
            os.kill(child.pid, signal.SIGKILL)

    session = Session(SessionArguments(tmp_path, tmp_path / "runs", "cpu", workers=1))
    ENGINES["local"].run(TrialQueue(trials), session, kill_first)
    assert [o.status for o in outcomes] == ["failed", "done"]
    assert "its process died (exit code -9)" in outcomes[0].message


def test_a_model_without_weights_is_one_line_and_the_others_run(run, tmp_path, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_PRETRAINED", str(tmp_path))
    tally = run(seeds=[0, 1], models=[f"usfm:{tmp_path / 'absent.pth'}", MICRO])
    assert [o.status for o in tally.outcomes].count("done") == 2
    [skipped] = [o for o in tally.outcomes if o.status == "skipped"]
    assert "weights missing" in skipped.message
    assert "absent.pth" in skipped.message
    assert tally.exit_code == 1


def test_nothing_that_could_run_is_exit_code_2(run, tmp_path):
    assert run(seeds=[0], models=[f"usfm:{tmp_path / 'absent.pth'}"]).exit_code == 2


def test_a_nan_loss_fails_the_trial_and_the_others_go_on(run, monkeypatch):
    loss = Classifier.loss
    calls = iter(range(10**6))

    def sometimes_nan(self, images, targets):
        return loss(self, images, targets) * (float("nan") if next(calls) == 0 else 1)

    monkeypatch.setattr(Classifier, "loss", sometimes_nan)
    tally = run(seeds=[0, 1])
    assert [o.status for o in tally.outcomes] == ["failed", "done"]
    assert "the loss is nan at epoch 1, step 1" in tally.outcomes[0].message
    assert tally.exit_code == 1


def test_a_full_disk_fails_the_trial_with_the_file_and_keeps_what_is_finished(run, tmp_path, monkeypatch):
    run(seeds=[0])
    before = cases_of(tmp_path / "runs")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        tally = run(seeds=[0, 1])
    assert [o.status for o in tally.outcomes] == ["failed"]
    assert "No space left on device" in tally.outcomes[0].message
    assert cases_of(tmp_path / "runs").keys() == before.keys()
    assert run(seeds=[0, 1]).exit_code == 0


def test_a_fault_that_is_nobodys_shows_its_trace_and_the_others_go_on(run, monkeypatch):
    calls = iter(range(10**6))

    def broken(self, images, targets):
        raise ZeroDivisionError if next(calls) == 0 else KeyError("later")

    monkeypatch.setattr(Classifier, "loss", broken)
    tally = run(seeds=[0, 1])
    assert [o.status for o in tally.outcomes] == ["failed", "failed"]
    assert "ZeroDivisionError" in tally.outcomes[0].message


def test_changed_settings_are_named_and_nothing_is_overwritten(run, tmp_path, tiny_registry):
    run(seeds=[0])
    before = cases_of(tmp_path / "runs")
    other = tmp_path / "other.yaml"
    other.write_text(tiny_registry.read_text().replace("n: 36, size: 64", "n: 39, size: 48"))
    with pytest.raises(BenchError) as error:
        run(seeds=[0], registry=other)
    assert "dataset.options.n: 36 -> 39" in str(error.value)
    assert "dataset.options.size: 64 -> 48" in str(error.value)
    assert "--fresh" in str(error.value)
    assert cases_of(tmp_path / "runs").keys() == before.keys()
    run(seeds=[0], registry=other, fresh=True)
    aside = list((tmp_path / "runs").rglob("seed-0.stale-*/record.json"))
    assert len(aside) == 1


def test_changed_images_are_noticed(run, tmp_path):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        for i in range(12):
            path = tmp_path / "own" / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 255, (40, 50), dtype=np.uint8))
    registry = tmp_path / "own.yaml"
    registry.write_text(
        "clinical: {version: 1, title: Ours, tasks: [classification], organ: liver, layout: imagefolder, path: own,\n"
        "           split: {kind: file, file: members.csv}}"
    )
    members = [f"{c}/{i}.png,{('train', 'train', 'val', 'test')[i % 4]}" for c in "ab" for i in range(12)]
    listed = tmp_path / "own" / "members.csv"
    listed.write_text("\n".join(["case_id,split", *members]))
    what = {"suite": "clinical-cls", "profile": "smoke", "datasets": [], "seeds": [0], "registry": registry}
    assert run(**what).exit_code == 0
    listed.write_text(listed.read_text().replace("a/0.png,train", "a/0.png,test"))
    with pytest.raises(BenchError, match=r"split_hash: .* -> "):
        run(**what)
    cv2.imwrite(str(tmp_path / "own" / "a" / "0.png"), np.zeros((40, 50), np.uint8))
    with pytest.raises(BenchError, match=r"data_hash: .* -> "):
        run(**what)


def test_an_unusable_data_set_fails_and_the_others_run(run, tmp_path, tiny_registry):
    registry = tmp_path / "both.yaml"
    absent = "absent: {version: 1, title: x, tasks: [classification], organ: x, layout: imagefolder, path: absent}"
    registry.write_text(tiny_registry.read_text() + absent)
    tally = run(seeds=[0, 1], datasets=["absent", "tiny"], registry=registry)
    assert [o.status for o in tally.outcomes] == ["failed", "failed", "done", "done"]
    assert "Dataset 'absent' is not at" in tally.outcomes[0].message
    with pytest.raises(BenchError, match="Dataset 'absent' is not at"):
        run(seeds=[0], datasets=["absent"], registry=registry)


def test_finished_trials_whose_data_is_gone_are_kept(run, tmp_path):
    images = {label: tmp_path / "own" / label for label in ("a", "b")}
    rng = np.random.default_rng(0)
    for folder in images.values():
        folder.mkdir(parents=True)
        for i in range(12):
            cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (40, 50), dtype=np.uint8))
    registry = tmp_path / "own.yaml"
    registry.write_text(
        "clinical: {version: 1, title: Ours, tasks: [classification], organ: liver, layout: imagefolder, "
        f"path: '{tmp_path / 'own'}'}}"
    )
    what = {"suite": "clinical-cls", "profile": "smoke", "datasets": [], "seeds": [0], "registry": registry}
    run(**what)
    assert str(tmp_path) not in next((tmp_path / "runs").rglob("record.json")).read_text()
    (tmp_path / "own").rename(tmp_path / "moved")
    tally = run(**what)
    assert (len(tally.kept), tally.outcomes, tally.exit_code) == (1, [], 0)


def test_half_done_work_that_cannot_be_read_is_removed_and_said(run, tmp_path):
    class StopAtOnce(list):
        def append(self, event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seeds=[0], events=StopAtOnce())
    [state] = (tmp_path / "runs").rglob("state.pt")
    state.write_bytes(b"damaged")
    [failed] = run(seeds=[0]).outcomes
    assert "half-done work could not be read" in failed.message
    assert [o.status for o in run(seeds=[0]).outcomes] == ["done"]


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path, tiny_registry):
    what = ["--datasets", "tiny", "--models", MICRO, "--seeds", "50"]
    process = subprocess.Popen(
        command(tiny_registry, tmp_path / "runs", *what),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    while not list((tmp_path / "runs").rglob("record.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the same command goes on where this one stopped" in err
    assert "Traceback" not in out + err


@pytest.mark.slow
def test_two_processes_may_run_the_same_suite(run, tmp_path, tiny_registry):
    what = ["--datasets", "tiny", "--models", MICRO, "--seeds", "3"]
    both = [
        subprocess.Popen(command(tiny_registry, tmp_path / "runs", *what), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        _, err = process.communicate()
        assert process.returncode == 0, err
    run("alone", seeds=[0, 1, 2])
    assert_same_bits(tmp_path / "alone", tmp_path / "runs")


def test_report_reads_what_run_wrote(trained_runs):
    """In a process of its own, as a user starts it."""
    line = [sys.executable, "-m", "usfm_bench", "report", "--suite", "demo", "--runs", trained_runs, "--format", "json"]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    rows = json.loads(done.stdout)["rows"]
    measured = {(r["table"], r["metric"]) for r in rows if r["source"] == "measured"}
    assert {("1", "DSC"), ("1", "HD95"), ("2", "F1")} <= measured
