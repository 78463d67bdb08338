"""Finished trials are pushed to a URL and read from it; what fails is said, lost nowhere and made up for."""

import json
import shutil
import socket
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.execution.outcome import Outcome
from usfm_bench.execution.pushing import Pusher
from usfm_bench.execution.run import Tally
from usfm_bench.results.remote import Remote, is_url, local_copy
from usfm_bench.results.store import Store

WEIGHTS = "weights.safetensors"


@pytest.fixture
def store(make_store):
    return make_store(models=["unet-resnet18-scratch"], seeds=2)


@pytest.fixture
def trials(store):
    return [record.spec for _, record in store.finished("demo")]


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    yield f"file://{tmp_path / 'elsewhere'}" if request.param == "file" else "memory://bucket/runs"
    fsspec.filesystem("memory").store.clear()


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def push_all(store: Store, url: str) -> int:
    remote = Remote(url)
    return sum(remote.push(folder, store.root) for folder, _ in store.finished("demo"))


def test_what_is_pushed_comes_back_without_weights(store, url, tmp_path):
    folder, _ = next(iter(store.finished("demo")))
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / "evaluations" / "other").mkdir(parents=True)
    (folder / "evaluations" / "other" / "record.json").write_text("{}")
    for name in ("state.pt", ".record.json.part"):
        (folder / name).write_bytes(b"unfinished")
    assert push_all(store, url) == len(files(store.root)) - 1  # without state.pt
    assert push_all(store, url) == 0
    Remote(url).fetch(tmp_path / "copy")
    kept = {
        name: content for name, content in files(store.root).items() if Path(name).name not in (WEIGHTS, "state.pt")
    }
    assert files(tmp_path / "copy") == kept


def test_a_copy_follows_what_changes_there(store, url, tmp_path):
    push_all(store, url)
    remote, copy = Remote(url), tmp_path / "copy"
    remote.fetch(copy)
    (first, record), (second, _) = list(store.finished("demo"))[:2]
    changed = record.model_copy(update={"notes": ("another",)}).model_dump_json()
    (first / "record.json").write_text(changed)
    (first / "history.csv").write_text("1")
    assert remote.push(first, store.root) == len(files(first))
    remote._system.rm(f"{remote._root}/{second.relative_to(store.root).as_posix()}", recursive=True)
    remote.fetch(copy)
    assert (copy / first.relative_to(store.root) / "record.json").read_text() == changed
    assert not (copy / second.relative_to(store.root)).exists()


def test_the_record_lands_last(store, url, monkeypatch):
    remote, put = Remote(url), []
    monkeypatch.setattr(remote, "_put", lambda name, content: put.append(Path(name).name))
    remote.push(next(iter(store.finished("demo")))[0], store.root)
    assert put[-1] == "record.json"
    assert put.count("record.json") == 1


def test_a_network_that_goes_away_costs_nothing(store, trials, url, monkeypatch, capsys):
    said, whole = [], Remote._put
    left = [3]

    def fails(self, name, content):
        if left[0] == 0:
            raise ConnectionError("the network\nis gone")
        left[0] -= 1
        whole(self, name, content)

    monkeypatch.setattr(Remote, "_put", fails)
    with Pusher(store, Remote(url), said.append) as pusher:
        for spec in trials:
            pusher.take(Outcome(spec, "done"))
        pusher.take(Outcome(trials[0], "failed"))
        n = pusher.finish(trials)
    assert n == len(trials) - (said == [])
    assert f"{url}: cannot be written: the network is gone The trials go on" in said[0]
    assert len(said) == 2
    assert f"{n} of {len(trials)} finished trials are not at {url}" in said[1]
    assert "the same command pushes what is missing" in said[1]
    left[0] = 10**6
    with Pusher(store, Remote(url), said.append) as pusher:
        assert pusher.finish(trials) == 0
    assert push_all(store, url) == 0


def test_reports_and_checks_read_a_url(store, url, tmp_path, tiny_registry):
    push_all(store, url)
    call = CliRunner().invoke
    what = ["report", "--suite", "demo", "--format", "json"]
    here = call(app, [*what, "--runs", str(store.root), "--registry", str(tiny_registry)])
    there = call(app, [*what, "--runs", url, "--registry", str(tiny_registry)])
    assert here.exit_code == there.exit_code == 0
    assert json.loads(there.stdout) == json.loads(here.stdout)
    baseline = tmp_path / "baseline.json"
    assert call(app, ["baseline", "--suite", "demo", "--runs", url, "--out", str(baseline)]).exit_code == 0
    assert call(app, ["check", "--baseline", str(baseline), "--runs", url]).exit_code == 0


def test_a_copy_is_kept_in_the_cache_folder_alone(store, tmp_path, monkeypatch):
    url = f"file://{tmp_path / 'elsewhere'}"
    push_all(store, url)
    monkeypatch.delenv("USFM_BENCH_CACHE", raising=False)
    one = local_copy(url)
    assert local_copy(url) != one
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path / "cache"))
    kept = local_copy(url)
    assert kept.parent == tmp_path / "cache"
    assert local_copy(f"{url}/") == kept
    assert files(kept) == files(one)
    shutil.rmtree(one)


def test_run_pushes_what_it_trained_and_says_what_is_left(store, trials, tmp_path, tiny_registry, monkeypatch):
    def trained(planned, *, tell, **_):
        for spec in planned:
            tell(Outcome(spec, "done"))
        return Tally([], [Outcome(spec, "done") for spec in planned])

    def fails(self, folder, runs):
        raise BenchError("gone.")

    monkeypatch.setattr("usfm_bench.execution.run.run_trials", trained)
    url = f"file://{tmp_path / 'elsewhere'}"
    what = ["run", "--suite", "demo", "--datasets", "tiny-lesion", "--models", "unet-resnet18-scratch", "--seeds", "2"]
    what += ["--registry", str(tiny_registry), "--runs", str(store.root), "--push", url]
    with monkeypatch.context() as gone:
        gone.setattr(Remote, "push", fails)
        result = CliRunner().invoke(app, what)
    assert result.exit_code == 1
    assert "2 done" in result.output
    assert f"2 of 2 finished trials are not at {url} (gone.)" in " ".join(result.output.split())
    assert files(tmp_path / "elsewhere") == {}
    result = CliRunner().invoke(app, what)
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "elsewhere") == files(store.root)


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_is_told_before_any_training(tmp_path, tiny_registry):
    (tmp_path / "file").write_text("in the way")
    what = [
        "run",
        "--suite",
        "demo",
        "--datasets",
        "tiny",
        "--registry",
        str(tiny_registry),
        "--runs",
        str(tmp_path / "r"),
    ]
    for url in (f"file://{tmp_path / 'file' / 'runs'}", "nosuch://bucket"):
        result = CliRunner().invoke(app, [*what, "--push", url])
        assert isinstance(result.exception, BenchError)
        assert url in str(result.exception)
    assert not (tmp_path / "r").exists()


def test_nothing_there_is_said(url, tmp_path):
    with pytest.raises(BenchError, match=r"no finished trial there. `usfm-bench run --push"):
        Remote(url).fetch(tmp_path / "copy")


def test_names_from_elsewhere_do_not_leave_the_folder(tmp_path):
    bad = {"../../out/demo/a/b/p/fold-0/seed-0/record.json": 2, "/demo/a/b/p/fold-0/seed-0/record.json": 2}
    remote = Remote("memory://bucket/bad")
    remote._sizes = lambda place: bad
    with pytest.raises(BenchError, match="no finished trial"):
        remote.fetch(tmp_path / "copy")
    assert list(tmp_path.rglob("record.json")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://bucket/runs", True), ("file:///x", True), ("reports/runs", False), ("C://x", False), ("a:b", False)],
)
def test_what_a_url_is(text, expected):
    assert is_url(text) == expected


# ---- a real server ---------------------------------------------------------------------------------------------------


@pytest.fixture
def s3(monkeypatch):
    """An S3 server on this machine, with one bucket; gives its address."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
    yield
    server.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("s3")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_an_s3_server(store, tmp_path):
    url = "s3://bucket/runs"
    Remote(url).check_writable()
    assert push_all(store, url) == len(files(store.root))
    assert push_all(store, url) == 0
    Remote(url).fetch(tmp_path / "copy")
    assert files(tmp_path / "copy") == files(store.root)
    with pytest.raises(BenchError, match=r"s3://nobody/runs: cannot be written: .*bucket"):
        Remote("s3://nobody/runs").check_writable()
