"""`--engine ray`: what travels, without Ray; and trials in a real Ray on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from test_run import assert_same_bits
from usfm_bench.core.errors import BenchError
from usfm_bench.execution import carried as carrying
from usfm_bench.execution import ray as engine
from usfm_bench.execution.carried import Files, RemoteSession, carry
from usfm_bench.execution.engine import ENGINES, check_engine
from usfm_bench.execution.outcome import Outcome, Tick
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.model import resolve
from usfm_bench.suites.plan import load_suite, plan_suite

MODEL = "timm:test_resnet@scratch"


@pytest.fixture
def trials(tiny_registry):
    return plan_suite(load_suite("demo"), load_registry(tiny_registry), datasets=["tiny"], models=[MODEL], seeds=[0, 1])


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Puts back what a remote session changes in its process."""
    for name in ("USFM_BENCH_PRETRAINED", "USFM_BENCH_CACHE", "USFM_BENCH_MODELS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("USFM_BENCH_MODELS")
    monkeypatch.chdir(tmp_path)


def here(tmp_path: Path) -> Session:
    return Session(SessionArguments(tmp_path, tmp_path / "runs", "cpu", keep_weights=False))


def test_a_trial_on_another_machine_comes_back_whole(tmp_path, trials, elsewhere, monkeypatch):
    kept: list = []
    carried = carry(here(tmp_path), trials, lambda thing: kept.append(thing) or len(kept) - 1, kept.__getitem__)
    assert len(kept) == 1  # one data set, whatever the number of trials
    remote = RemoteSession(carried, "cpu")
    *ticks, files = remote.run(trials[0])
    assert {type(tick) for tick in ticks} == {Tick}
    assert isinstance(files, Files)
    assert set(files.content) == {"record.json", "cases.parquet", "predictions.npz", "history.csv"}
    assert not list(Path("runs").rglob("record.json"))  # nothing stays there
    store = Store(tmp_path / "runs")
    assert files.store(store).status == "done"
    ENGINES["here"].run(TrialQueue(trials[:1]), Session(SessionArguments(tmp_path, tmp_path / "one", "cpu")), print)
    assert_same_bits(tmp_path / "runs", tmp_path / "one")
    assert store.record(trials[0]).spec_hash == trials[0].hash


def test_weights_their_cards_and_the_users_models_travel(tmp_path, trials, elsewhere, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_PRETRAINED", str(tmp_path / "store"))
    published = resolve("usfm").weight_file
    for place in (published, "mine/a.pth", "mine/a.pth.json", "mine/b.pth"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(str(place))
    (tmp_path / "models.yaml").write_text("acme: {family: timm, architecture: resnet18, weights: scratch}\n")
    monkeypatch.setattr(Session, "dataset", lambda self, spec: None)

    def content(*models: str) -> dict:
        specs = [trials[0].model_copy(update={"model": model}) for model in models]
        return dict(carry(here(tmp_path), specs, lambda thing: thing, lambda thing: thing).files)

    assert content("usfm", "usfm:mine/a.pth", "acme", "usfm:mine/absent.pth") == {
        f"pretrained/{published.name}": str(published).encode(),
        "mine/a.pth": b"mine/a.pth",
        "mine/a.pth.json": b"mine/a.pth.json",
        "models.yaml": (tmp_path / "models.yaml").read_bytes(),
    }
    with pytest.raises(BenchError, match="leads nowhere"):
        content(f"usfm:{tmp_path / 'mine' / 'b.pth'}")


def test_what_is_no_whole_trial_is_not_stored(tmp_path, trials):
    outcome = Outcome(trials[0], "done")
    for content in ({"cases.parquet": b""}, {"record.json": b"", "../x": b""}):
        assert Files(outcome, content).store(Store(tmp_path)).status == "failed"
    assert not list(tmp_path.rglob("*.*"))


def test_a_fault_of_the_session_ends_the_trial_and_not_the_actor(tmp_path, trials, elsewhere, monkeypatch):
    remote = RemoteSession(carry(here(tmp_path), [], lambda thing: thing, lambda thing: thing), "cpu")

    def broken(self, spec, tell, *, wait):
        raise KeyboardInterrupt

    monkeypatch.setattr(carrying.Session, "run", broken)
    [outcome] = remote.run(trials[0])
    assert outcome.status == "failed"
    assert "KeyboardInterrupt" in outcome.message


def test_options_are_checked_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    check_engine("ray", 4, 3, {"address": "auto", "cpus": "2"})
    for options, words in (
        ({"cpu": "2"}, "Did you mean 'cpus'"),
        ({"cpus": "many"}, "expected a number of processor cores"),
        ({"address": "ray://head:10001"}, "--address auto"),
    ):
        with pytest.raises(BenchError, match=words):
            check_engine("ray", 4, None, options)
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install 'usfm-bench\[ray\]'"):
        check_engine("ray", 4)


@pytest.fixture
def real():
    """Ray's module, with nothing running."""
    ray = pytest.importorskip("ray", reason="the extra [ray] is not installed")
    yield ray
    ray.shutdown()


def test_an_address_where_nothing_listens_is_told(real):
    with pytest.raises(
        BenchError, match=r"--address 127\.0\.0\.1:1: no Ray cluster answers there \(Connection refused\)"
    ):
        engine._connect("127.0.0.1:1")


@pytest.mark.slow
def test_an_address_where_something_else_listens_is_told_in_time(real, monkeypatch):
    import socket

    monkeypatch.setattr(engine, "_ANSWER_S", 10)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BenchError, match=f"127.0.0.1:{port}: no Ray cluster answers there within 10 s"):
            engine._connect(f"127.0.0.1:{port}")


def words(tmp_path: Path, registry: Path, seeds: int, runs: str, *more: str) -> list[str]:
    what = ["run", "--suite", "demo", "--registry", str(registry), "--datasets", "tiny", "--models", MODEL]
    where = ["--runs", str(tmp_path / runs), "--device", "cpu", "--seeds", str(seeds), "--no-keep-weights"]
    return [sys.executable, "-m", "usfm_bench", *what, *where, *more]


def actors(driver: int) -> list[int]:
    """Processes of actors that train, of the Ray that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::RemoteSession"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_forty_trials_survive_dead_actors_and_a_dead_driver(real, tmp_path, tiny_registry, monkeypatch):
    """Bits are those of one process; a trial whose actor died has failed, and is done by the next run."""
    rng = np.random.default_rng(0)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's own 15 starves beside other tests
    command = words(tmp_path, tiny_registry, 40, "ray", "--engine", "ray", "--workers", "2")
    done = tmp_path / "ray"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killed, count = 0, 0
    while count < 12 and process.poll() is None:
        time.sleep(0.2)
        now = len(list(done.rglob("record.json")))
        if now > count and now % 4 == 0 and (running := actors(process.pid)):
            os.kill(int(rng.choice(running)), signal.SIGKILL)
            killed += 1
        count = now
    process.kill()
    process.communicate()
    assert killed
    assert 12 <= count < 40
    for _ in range(2):  # the first may still meet locks of the driver that was killed
        finished = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert finished.returncode == 0, finished.stderr
    subprocess.run(words(tmp_path, tiny_registry, 40, "one"), check=True, capture_output=True)
    assert len(list(done.rglob("record.json"))) == 40
    assert_same_bits(done, tmp_path / "one")
