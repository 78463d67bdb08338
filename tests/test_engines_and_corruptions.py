"""Engines and corruptions are entries of registries; whoever uses one asks for no name."""

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from usfm_bench.core.errors import BenchError
from usfm_bench.data.corruptions import CORRUPTIONS, SEVERITIES, Corruption, blur, corrupt, gain
from usfm_bench.data.phantom import PhantomSpec, render
from usfm_bench.execution import run as execution_run
from usfm_bench.execution.engine import ENGINES, default_engine
from usfm_bench.execution.outcome import Outcome
from usfm_bench.execution.run import run_trials
from usfm_bench.specs.dataset import load_registry
from usfm_bench.suites.plan import load_suite, plan_suite

IMAGE = render(PhantomSpec(n=4, size=64), 1).image


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_corruption_keeps_shape_and_type_and_repeats_itself(name, severity):
    before = IMAGE.copy()
    first, again = (corrupt(IMAGE, name, severity, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == IMAGE.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(IMAGE, before)
    corrupt(np.array([[7]], np.uint8), name, severity, np.random.default_rng(0))  # the smallest image


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_grows_with_its_severity_and_says_what_it_is(name):
    levels = IMAGE.astype(int)
    changes = [np.abs(corrupt(IMAGE, name, s, np.random.default_rng(3)) - levels).mean() for s in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[0] > 0
    assert all((CORRUPTIONS[name].title, CORRUPTIONS[name].imitates, CORRUPTIONS[name].source))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_is_a_gaussian_along_the_rows_alone(severity):
    expected = gaussian_filter1d(IMAGE.astype(float), blur.SIGMAS[severity - 1], axis=1, mode="nearest")
    found = corrupt(IMAGE, "lateral-blur", severity, np.random.default_rng(0))
    assert np.abs(found - expected).max() <= 1.5  # OpenCV weighs in whole numbers
    rows = np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[:, None], 30, axis=1)
    np.testing.assert_array_equal(corrupt(rows, "lateral-blur", severity, np.random.default_rng(0)), rows)


def test_gain_shifts_grey_levels_by_decibels_of_the_dynamic_range():
    grey = np.full((1, 1), 128, np.uint8)
    for severity, decibels in zip(SEVERITIES, (3, 6, 9, 12, 15), strict=True):
        found = {int(corrupt(grey, "gain", severity, np.random.default_rng(seed))[0, 0]) for seed in range(20)}
        shift = decibels * 255 / 60
        assert found == {round(128 - shift), round(128 + shift)}
    assert gain.DYNAMIC_RANGE == 60
    ends = np.array([[0, 255]], np.uint8)
    assert {int(v) for seed in range(9) for v in corrupt(ends, "gain", 5, np.random.default_rng(seed)).ravel()} == {
        *(0, 255),
        *(64, 191),
    }


def test_a_wrong_severity_name_or_result_is_told(monkeypatch):
    rng = np.random.default_rng(0)
    with pytest.raises(BenchError, match=r"Unknown corruption 'gian'\. Did you mean 'gain'\?"):
        corrupt(IMAGE, "gian", 1, rng)
    for severity in (0, 6, 1.5):
        with pytest.raises(BenchError, match=f"Severity {severity} of corruption 'gain'"):
            corrupt(IMAGE, "gain", severity, rng)
    for wrong in (lambda i, s, r: i.astype(float), lambda i, s, r: i[:5], lambda i, s, r: None):
        monkeypatch.setitem(CORRUPTIONS._entries, "wrong", Corruption("t", "i", "s", wrong))
        with pytest.raises(BenchError, match="Corruption 'wrong' gave"):
            corrupt(IMAGE, "wrong", 1, rng)


def test_the_engine_is_chosen_as_before_where_none_is_named():
    assert [default_engine(workers) for workers in (0, 1, 2, 9)] == ["here", "here", "local", "local"]
    assert {"here", "local"} <= set(ENGINES)


def test_run_names_no_engine():
    tree = ast.parse(Path(execution_run.__file__).read_text())
    assert not {"here", "local"} & {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.fixture
def run(tmp_path, tiny_registry):
    def call(**what):
        trials = plan_suite(
            load_suite("demo"),
            load_registry(tiny_registry),
            datasets=["tiny"],
            models=["usfm-micro-scratch"],
            seeds=[0, 1],
        )
        return run_trials(
            trials,
            **(
                {"data_root": tmp_path, "runs": tmp_path / "runs", "device": "cpu", "workers": 1, "fresh": False} | what
            ),
            tell=lambda event: None,
            say=lambda text: None,
            keep=lambda kept: None,
        )

    return call


def test_an_engine_gets_the_queue_and_the_session(run, monkeypatch, tmp_path):
    seen = []

    class Pretends:
        title = "nowhere"

        def run(self, queue, session, tell):
            seen.append((len(queue), session.arguments.workers, session.arguments.runs))
            while (task := queue.next()) is not None:
                outcome = Outcome(task[0], "done")
                assert queue.settle(outcome)
                tell(outcome)

    monkeypatch.setitem(ENGINES._entries, "pretends", Pretends())
    tally = run(engine="pretends", workers=3)
    assert seen == [(2, 3, tmp_path / "runs")]
    assert tally.exit_code == 0


def test_what_an_engine_leaves_behind_has_failed(run, monkeypatch):
    class Forgets:
        title = "nowhere"

        def run(self, queue, session, tell):
            tell(Outcome(queue.next()[0], "done"))

    monkeypatch.setitem(ENGINES._entries, "forgets", Forgets())
    tally = run(engine="forgets")
    assert [(o.spec.seed, o.status) for o in tally.outcomes] == [(0, "done"), (1, "failed")]
    assert tally.outcomes[1].message == "engine 'forgets' ended without running it"
    assert tally.exit_code == 1


def test_an_unknown_engine_suggests_the_nearest(run):
    with pytest.raises(BenchError, match=r"Unknown engine 'locl'\. Did you mean 'local'\?"):
        run(engine="locl")
