"""`--engine slurm`: the jobs' side in this process, and the whole with programs that stand for Slurm's."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fake_slurm import install
from test_run import assert_same_bits
from usfm_bench.core.errors import BenchError
from usfm_bench.execution import share as sharing
from usfm_bench.execution import slurm as engine
from usfm_bench.execution.engine import ENGINES, check_engine
from usfm_bench.execution.node import version_faults, versions
from usfm_bench.execution.outcome import Notice, Outcome, Tick
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.execution.share import Ended, Events, Share, events_path, read_trials, write_trials
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import load_registry
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.training.device import device_fabric

pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
MODEL = "timm:test_resnet@scratch"
assert "slurm" in ENGINES  # which registers the shipped ones before a test replaces one


@pytest.fixture
def trials(tiny_registry):
    return plan_suite(
        load_suite("demo"), load_registry(tiny_registry), datasets=["tiny"], models=[MODEL], seeds=[0, 1, 2]
    )


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Slurm's programs on the path; gives the folder of their state."""
    known = install(tmp_path)
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(engine, "_LOOK_S", 0.05)
    monkeypatch.setattr(engine, "_ASK_S", 0.2)
    return Path(known["FAKE_SLURM"])


class Pretends:
    """A local engine that trains nothing: seed 1 fails, seed 2 is another process's."""

    ran: list

    def run(self, queue, session, tell):
        self.ran = []
        while (task := queue.next()) is not None:
            status = {1: "failed", 2: "busy"}.get(task[0].seed, "done")
            self.ran.append(task[0].seed)
            outcome = Outcome(task[0], status, "said")
            tell(Tick(task[0], {"epoch": 1, "loss": float("nan")}))
            if queue.settle(outcome):
                tell(outcome)


def share(tmp_path: Path, trials, number: int = 0, **what) -> Share:
    folder = tmp_path / "told"
    if not folder.exists():
        write_trials(folder, trials)
    arguments = SessionArguments(tmp_path, tmp_path / "runs", "cpu")
    return replace(Share(arguments, folder, number, 3, versions()), **what)


def test_trials_travel_whole(tmp_path, trials):
    write_trials(tmp_path, trials)
    assert [spec.hash for spec in read_trials(tmp_path)] == [spec.hash for spec in trials]


def test_a_job_runs_what_no_other_has_ended_and_tells_of_it(tmp_path, trials, monkeypatch):
    local = Pretends()
    monkeypatch.setitem(ENGINES._entries, "local", local)
    jobs = [share(tmp_path, trials, number) for number in range(2)]
    Ended(jobs[0].folder).add(trials[0])
    jobs[1]()
    assert local.ran == [2]  # the pass after the first, in which seed 1 had failed
    by_label = {spec.label: spec for spec in trials}
    events = Events(events_path(jobs[1].folder, 1), by_label)
    told = [(type(e), e.spec.seed, getattr(e, "status", None)) for e in events]
    assert told == [
        (Tick, 1, None),
        (Outcome, 1, "failed"),
        (Tick, 2, None),
        (Outcome, 2, "busy"),
        (Tick, 2, None),
        (Outcome, 2, "busy"),
    ]
    assert list(events) == []
    jobs[0]()
    assert [e.spec.seed for e in Events(events_path(jobs[0].folder, 0), by_label)] == [2, 2]


def test_half_a_line_is_read_when_it_is_whole(tmp_path, trials):
    path = tmp_path / "events-0.jsonl"
    line = json.dumps({"label": trials[0].label, "status": "done", "message": ""}).encode()
    path.write_bytes(line[:9])
    events = Events(path, {trials[0].label: trials[0]})
    assert list(events) == []
    path.write_bytes(line + b"\n")
    assert [e.status for e in events] == ["done"]


def test_a_machine_that_lacks_something_takes_no_trial(tmp_path, trials):
    away = [trials[0].model_copy(update={"dataset": trials[0].dataset.model_copy(update={"path": "gone"})})]
    job = share(tmp_path, away, versions=versions() | {"usfm-bench": "9.9", "timm": "0.1"})
    with pytest.raises(BenchError, match="takes no trial"):
        job()
    [said] = Events(events_path(job.folder, 0), {})
    assert isinstance(said, Notice)
    for words in ("usfm-bench is", "where the run was started 9.9", "timm is", "data set tiny is not in"):
        assert words in said.text
    assert not (tmp_path / "runs").exists()


def test_versions_are_compared_without_the_name_of_the_build_and_commits_where_both_have_one():
    here = {"usfm-bench": "1", "torch": "2", "commit": "a"}
    assert version_faults(here, here | {"commit": "b"}) == ["commit is b, where the run was started a"]
    assert version_faults(here, {"usfm-bench": "1", "torch": "2"}) == []
    assert version_faults(here, {"usfm-bench": "1"}) == ["torch is not installed, where the run was started 2"]


def test_options_of_sbatch_are_checked_before_anything_is_read(cluster, monkeypatch):
    check_engine("slurm", 8, None, {"partition": "gpu", "time": "1-12", "mail-user": "a@b.c"})
    for options, words in (
        ({"array": "0-9"}, "is set by usfm-bench"),
        ({"time": "soon"}, "expected a time limit"),
        ({"comment": "a\nrm -rf"}, "expected a long option"),
        ({"part ition": "x"}, "expected a long option"),
    ):
        with pytest.raises(BenchError, match=words):
            check_engine("slurm", 8, None, options)
    with pytest.raises(BenchError, match="'local' takes no --engine-option partition"):
        check_engine("local", 2, None, {"partition": "gpu"})
    monkeypatch.setenv("PATH", str(cluster))
    with pytest.raises(BenchError, match=r"sbatch, srun, squeue not found on this machine"):
        check_engine("slurm", 1)
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install 'usfm-bench\[slurm\]'"):
        check_engine("slurm", 1)


def test_a_gpu_is_asked_for_unless_the_user_says_otherwise():
    assert engine.parameters({}, "auto")["additional_parameters"] == {"gres": "gpu:1"}
    assert engine.parameters({"gpus": "a100:2", "qos": "low"}, "cuda")["additional_parameters"] == {
        "gpus": "a100:2",
        "qos": "low",
    }
    assert engine.parameters({"time": "30", "job-name": "x"}, "cpu") == {
        "time": 30,
        "job_name": "x",
        "stderr_to_stdout": True,
        "additional_parameters": {},
    }


def run(trials, tmp_path, *, wait=True, workers=2, told=None, **options):
    arguments = SessionArguments(
        tmp_path, tmp_path / "runs", "cpu", keep_weights=False, workers=workers, options=tuple(options.items())
    )
    ENGINES["slurm"].run(TrialQueue(trials, wait=wait), Session(arguments), (told if told is not None else []).append)


def test_a_slurm_without_permission_is_told_in_its_words(tmp_path, trials, cluster):
    (cluster / "refuse").write_text("Invalid account or account/partition combination specified")
    with pytest.raises(BenchError, match=r"Slurm does not take the jobs: .*Invalid account"):
        run(trials, tmp_path, partition="gpu")
    assert not list((tmp_path / "runs" / "slurm").glob("run-*"))
    script = (cluster / "script.sh").read_text()
    for line in ("--partition=gpu", "--array=0-1%2", "--time=240", "--job-name=usfm-bench", "--signal=USR2@90"):
        assert f"#SBATCH {line}" in script


def test_without_waiting_trials_are_left_to_the_jobs(tmp_path, trials, cluster, monkeypatch):
    monkeypatch.setattr(engine, "submit", lambda specs, arguments: engine.Array("88", [], tmp_path, tmp_path))
    told: list = []
    run(trials, tmp_path, wait=False, told=told)
    assert told[0].text == f"Slurm job 88: 3 trials, logs in '{tmp_path}'"
    assert {(o.status, o.message) for o in told[1:]} == {("busy", "left to Slurm job 88")}


def test_trials_of_jobs_that_ended_are_told_with_the_log(tmp_path, trials, cluster, monkeypatch):
    class Job:
        class paths:
            result_pickle = tmp_path / "none"
            stdout = tmp_path / "88_0_log.out"

    array = engine.Array("88", [Job()], tmp_path, tmp_path)
    monkeypatch.setattr(engine, "submit", lambda specs, arguments: array)
    with events_path(tmp_path, 0).open("wb") as stream:
        sharing._append(stream, Tick(trials[0], {"epoch": 1.0}))
        sharing._append(stream, Outcome(trials[1], "done"))
    told: list = []
    with Store(tmp_path / "runs").lock(trials[2]):
        run(trials, tmp_path, told=told)
    ends = {o.spec.seed: (o.status, o.message) for o in told if isinstance(o, Outcome)}
    assert ends[0] == ("failed", f"its job ended before it; its log is '{tmp_path / '88_0_log.out'}'")
    assert ends[1][0] == "done"
    assert ends[2][0] == "busy"


def command(tmp_path: Path, registry: Path, *more: str) -> list[str]:
    words = ["run", "--suite", "demo", "--registry", str(registry), "--datasets", "tiny", "--models", MODEL]
    where = ["--runs", str(tmp_path / "runs"), "--device", "cpu", "--engine", "slurm"]
    return [sys.executable, "-m", "usfm_bench", *words, *where, *more]


@pytest.mark.slow
def test_an_array_gives_the_bits_of_one_process_and_its_logs_lie_with_the_results(
    tmp_path, trials, cluster, tiny_registry
):
    told: list = []
    run(trials, tmp_path, told=told)
    assert [o.status for o in told if isinstance(o, Outcome)] == ["done"] * 3
    assert {e.row["epoch"] for e in told if isinstance(e, Tick)} == set(range(1, 13))
    assert {p.name for p in (tmp_path / "runs" / "slurm").glob("*.out")} == {"88_0_0_log.out", "88_1_0_log.out"}
    arguments = SessionArguments(tmp_path, tmp_path / "one", "cpu", keep_weights=False)
    alone: list = []
    ENGINES["here"].run(TrialQueue(trials), Session(arguments), alone.append)
    assert [o.status for o in alone if isinstance(o, Outcome)] == ["done"] * 3, alone[-1]
    assert_same_bits(tmp_path / "runs", tmp_path / "one")
    for spec in trials:
        trained = {Store(tmp_path / name).record(spec).trained_hash for name in ("runs", "one")}
        assert len(trained) == 1
        assert None not in trained


@pytest.mark.usefixtures("cluster")
def test_nobody_is_told_to_start_the_command_with_srun():
    assert shutil.which("srun")
    device_fabric("fp32", None, "cpu")  # a warning would be an error here


def begun(cluster: Path, runs: Path, process: subprocess.Popen) -> int:
    """Wait until a job trains; gives the process that heads it."""
    while not list(runs.rglob("spec.json")):
        assert process.poll() is None
        time.sleep(0.05)
    head = int((cluster / "job-0").read_text())
    children = Path(f"/proc/{head}/task/{head}/children").read_text().split()
    return int(children[0])


@pytest.mark.slow
def test_a_job_that_is_preempted_is_queued_again_and_goes_on(tmp_path, cluster, tiny_registry):
    words = command(tmp_path, tiny_registry, "--seeds", "2")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.kill(begun(cluster, tmp_path / "runs", process), signal.SIGUSR2)
    out, err = process.communicate(timeout=120)
    assert (cluster / "requeued").read_text() == "requeue 88"
    assert process.returncode == 0, err
    assert "2 done." in out


@pytest.mark.slow
def test_interrupting_a_run_cancels_its_jobs(tmp_path, cluster, tiny_registry):
    process = subprocess.Popen(command(tmp_path, tiny_registry, "--seeds", "4"), stderr=subprocess.PIPE, text=True)
    begun(cluster, tmp_path / "runs", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Interrupted" in err
    assert (cluster / "cancelled").exists()
