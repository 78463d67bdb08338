"""A report in parts, by data set: the same by one process and by two, and what two folders of one data set are."""

import shutil
from concurrent.futures.process import BrokenProcessPool

import pytest

from usfm_bench.core.errors import BenchError
from usfm_bench.reporting import build_report, parts, render
from usfm_bench.reporting.readable import ReadableStore
from usfm_bench.results.store import Store

MIXED = ("tiny-lesion", "tiny", "tiny-clinical")


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr(parts, "MANY", 1)


def text(report):
    return render([report], "json") + render([report], "markdown", ["all"])


@pytest.mark.slow
def test_two_processes_write_the_same_report_and_tell_of_the_same_damage(make_store, many):
    store = make_store(datasets=MIXED, seeds=2)
    [damaged] = store.root.glob("demo/tiny/usfm-micro-scratch/smoke/fold-0/seed-1/record.json")
    damaged.write_text("{")
    one, two = (ReadableStore(store.root).report("demo", None, "diagonal", workers=n) for n in (1, 2))
    assert text(one) == text(two)
    assert "tiny/usfm-micro-scratch/smoke/fold-0/seed-1/record.json: cannot be read" in two.notes[0]


@pytest.mark.slow
def test_a_fault_in_another_process_is_told_in_its_words(make_store, many):
    store = make_store(datasets=MIXED, seeds=1)
    [cases] = store.root.glob("demo/tiny/usfm-micro-scratch/smoke/fold-0/seed-0/cases.parquet")
    cases.unlink()
    with pytest.raises(BenchError, match=r"cases.parquet: missing or damaged"):
        build_report(store, "demo", workers=2)


def test_where_processes_die_one_after_the_other_is_reported(make_store, many, monkeypatch):
    class Dying:
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...

        def map(self, function, items):
            yield function(next(iter(items)))
            raise BrokenProcessPool("no memory for the second")

    monkeypatch.setattr(parts, "ProcessPoolExecutor", Dying)
    store = make_store(datasets=MIXED, seeds=1)
    assert text(build_report(store, "demo", workers=2)) == text(build_report(store, "demo"))


def test_few_trials_start_no_process(make_store, monkeypatch):
    monkeypatch.setattr(parts, "ProcessPoolExecutor", None)
    assert build_report(make_store(datasets=MIXED, seeds=1), "demo", workers=2).rows


def test_a_data_set_in_two_folders_is_an_error_that_names_it(make_store):
    store = make_store(seeds=1)
    shutil.copytree(store.root / "demo" / "tiny-lesion", store.root / "demo" / "tiny-copy")
    with pytest.raises(BenchError, match=r"Two folders of suite 'demo' hold trials of .* on tiny-lesion; move one"):
        build_report(Store(store.root), "demo")
