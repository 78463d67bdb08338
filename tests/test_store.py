import errno
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from usfm_bench.core import files as atomic
from usfm_bench.core.errors import BenchError
from usfm_bench.core.file_names import encode_name
from usfm_bench.core.locks import LockHeldError
from usfm_bench.results.frames import read_cases
from usfm_bench.results.predictions import load_predictions
from usfm_bench.results.store import Store, read_record


def test_names_are_percent_encoded_and_never_leave_the_folder():
    assert encode_name("usfm:/a b/ü.pth") == "usfm%3A%2Fa%20b%2F%C3%BC.pth"
    assert encode_name("..") == "%2E%2E"
    assert encode_name("A-z_0.9") == "A-z_0.9"


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    atomic.write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(BenchError, match=r"a\.txt: cannot be written: No space left on device"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_named_under_torchs_own_error(tmp_path):
    """The limit on a file's size is the nearest thing to a full disk that a process can make for itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(BenchError, match=r"state\.pt: cannot be written: File too large"):
            atomic.write_atomic(tmp_path / "state.pt", lambda stream: torch.save({"a": torch.zeros(10_000)}, stream))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_results_are_readable_by_others_as_the_umask_says(tmp_path):
    atomic.write_text(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_saved_trial_is_found_again(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(folder, record)] = store.finished("demo")
    assert store.record(record.spec) == record
    assert store.changed_settings(record.spec) == []
    assert {p.name for p in folder.iterdir()} == {"record.json", "cases.parquet", "predictions.npz", "history.csv"}


def test_changed_settings_are_named(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    training = record.spec.training.model_copy(update={"lr": 0.5})
    assert store.changed_settings(record.spec.model_copy(update={"training": training})) == [
        "training.lr: 0.001 -> 0.5"
    ]


def test_where_the_data_lies_and_how_it_is_called_are_no_settings(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    dataset = record.spec.dataset.model_copy(update={"path": "elsewhere", "title": "Another title"})
    assert store.changed_settings(record.spec.model_copy(update={"dataset": dataset})) == []


def test_unfinished_work_on_other_data_is_not_continued(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    spec = record.spec.model_copy(update={"seed": 7})
    state = store.begin(spec, data_hash="a", weight_hash=None) / "state.pt"
    state.write_bytes(b"half done")
    assert (store.begin(spec, data_hash="a", weight_hash=None) / "state.pt").exists()
    assert not (store.begin(spec, data_hash="b", weight_hash=None) / "state.pt").exists()


def test_unfinished_work_with_other_settings_is_reported(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    spec = record.spec.model_copy(update={"seed": 7})
    store.begin(spec, data_hash="a", weight_hash=None)
    other = spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": 9})})
    assert store.changed_settings(other) == ["training.epochs: 4 -> 9"]


def test_setting_aside_keeps_everything(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(folder, record)] = store.finished("demo")
    before = sorted(p.name for p in folder.iterdir())
    store.set_aside(record.spec)
    [aside] = folder.parent.glob("seed-0.stale-*")
    assert sorted(p.name for p in aside.iterdir()) == before
    assert list(store.finished("demo")) == []
    store.begin(record.spec, data_hash="a", weight_hash=None)
    store.set_aside(record.spec)
    assert len(list(folder.parent.glob("seed-0.stale-*"))) == 2


def test_a_damaged_record_can_be_set_aside(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(folder, record)] = store.finished("demo")
    (folder / "record.json").write_text("{")
    store.set_aside(record.spec)
    assert (folder.parent / "seed-0.stale-damaged" / "record.json").exists()


def test_a_running_trial_is_not_set_aside(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    with store.lock(record.spec), pytest.raises(BenchError, match="being run by another process"):
        store.set_aside(record.spec)


def test_what_a_killed_process_was_writing_is_removed(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(folder, record)] = store.finished("demo")
    (folder / ".state.pt.x8f2").write_bytes(b"half")
    store.begin(record.spec, data_hash="a")
    assert not list(folder.glob(".*"))


def test_only_one_process_holds_a_trial(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    with store.lock(record.spec), pytest.raises(LockHeldError), store.lock(record.spec):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    store.root.chmod(0o500)
    spec = record.spec.model_copy(update={"suite": "other"})
    with pytest.raises(BenchError, match="cannot be written"), store.lock(spec):
        pass


def test_a_runs_folder_that_is_a_file_is_named(tmp_path, make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(_, record)] = store.finished("demo")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match=r"file.*cannot be written"), Store(tmp_path / "file").lock(record.spec):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "expected a JSON object"),
        ('{"schema_version": 99}', "schema_version is 99"),
        ('{"schema_version": 1}', "not a trial record"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str, message: str):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(BenchError, match=message) as error:
        read_record(path)
    assert str(path) in str(error.value)


def test_scores_come_back_as_seeds_by_cases(make_store):
    from usfm_bench.results.frames import load_results

    store = make_store(models=["usfm-micro-scratch"], seeds=3)
    [results], unfinished = load_results(store, "demo", "smoke")
    assert unfinished == []
    matrix = results.matrix("DSC")
    assert matrix.shape == (3, len(results.case_table))
    first = results.cases[results.cases["seed"] == 0].sort_values("case_id")["DSC"]
    np.testing.assert_array_equal(matrix[0], first)


def test_damaged_cases_are_named(make_store):
    from usfm_bench.results.frames import load_results

    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(folder, _)] = store.finished("demo")
    (folder / "cases.parquet").write_bytes(b"no parquet")
    with pytest.raises(BenchError, match=r"cases\.parquet: missing or damaged"):
        load_results(store, "demo", "smoke")


def test_weights_of_an_attempt_that_was_cut_short_do_not_stay_beside_a_record_without_weights(make_store):
    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(folder, record)] = store.finished("demo")
    (folder / "weights.safetensors").write_bytes(b"of another attempt")
    assert record.weights is None
    store.save(record, read_cases(folder, record), load_predictions(folder / "predictions.npz"), [])
    assert not (folder / "weights.safetensors").exists()
