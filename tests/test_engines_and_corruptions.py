"""Engines and corruptions are entries of registries; whoever uses one asks for no name."""

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageEnhance
from scipy.ndimage import gaussian_filter1d
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.data.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
    blur,
    chosen,
    corrupt,
    corrupt_sample,
    depth,
    gain,
    medmnistc,
)
from usfm_bench.data.phantom import PhantomSpec, render
from usfm_bench.data.resize import resize_image
from usfm_bench.data.sample import Case, sample_of
from usfm_bench.execution import run as execution_run
from usfm_bench.execution.engine import ENGINES, check_engine, default_engine
from usfm_bench.execution.local import workers_here
from usfm_bench.execution.outcome import Outcome
from usfm_bench.execution.run import run_trials
from usfm_bench.execution.session import SessionArguments
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


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_may_be_smaller_than_a_kernel(name, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for severity in (1, 5):
        found = corrupt(image, name, severity, np.random.default_rng(1))
        assert (found.shape, found.dtype) == (shape, np.uint8)


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


def test_depth_is_paid_for_in_decibels():
    grey = np.full((101, 3), 200, np.uint8)
    for severity, decibels in zip(SEVERITIES, depth.LOSSES, strict=True):
        found = corrupt(grey, "attenuation", severity, np.random.default_rng(0)).astype(int)
        assert found[0, 0] == 200
        assert found[-1, 0] == round(200 - decibels * 255 / 60)
        assert abs(found[50, 0] - (200 - decibels * 255 / 120)) <= 0.5


def test_a_narrower_range_keeps_white_and_a_flat_map_keeps_the_mean():
    levels = np.arange(256, dtype=np.uint8)[None]
    narrow = corrupt(levels, "dynamic-range", 5, np.random.default_rng(0))[0]
    np.testing.assert_array_equal(narrow, np.clip(np.rint(255 - 1.5 * (255 - levels[0].astype(float))), 0, 255))
    flat = corrupt(IMAGE, "contrast", 5, np.random.default_rng(0))
    assert abs(flat.mean() - IMAGE.mean()) < 0.5
    assert flat.std() == pytest.approx(0.2 * IMAGE.std(), rel=0.05)


def test_speckle_keeps_the_mean_power_and_black():
    image = np.full((200, 200), 128, np.uint8)
    image[:, :20] = 0
    found = corrupt(image, "speckle", 5, np.random.default_rng(0))
    assert not found[:, :20].any()
    power = (10 ** ((found[:, 20:] / 255 - 1) * 60 / 10)).mean() / 10 ** ((128 / 255 - 1) * 60 / 10)
    assert power == pytest.approx(1, rel=0.1)
    amplitude = 10 ** ((found[:, 20:] / 255 - 1) * 60 / 20)
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.91, rel=0.1)  # fully developed: Rayleigh


def test_haze_and_reverberation_stay_in_what_the_probe_sees():
    image = np.zeros((80, 80), np.uint8)
    image[5:75, 10:70] = 90
    for name in ("haze", "reverberation", "tgc"):
        found = corrupt(image, name, 5, np.random.default_rng(1))
        assert not found[:, :10].any()
        assert not found[:5].any()


def test_calipers_are_white_and_all_else_stays():
    found = corrupt(IMAGE, "calipers", 3, np.random.default_rng(0))
    assert set(found[found != IMAGE].tolist()) == {255}


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if CORRUPTIONS[name].moves])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_masks_of_every_structure_go_where_the_image_goes(name, severity):
    structures = np.zeros((2, 64, 64), bool)
    structures[0, 20:44, 20:44], structures[1, 30:60, 5:15] = True, True
    image = np.where(structures.any(axis=0), 255, 0).astype(np.uint8)
    sample = sample_of(Case("one"), image, structures)
    found = corrupt_sample(sample, name, severity)
    assert found.structures is not None
    np.testing.assert_array_equal(found.mask, found.structures.any(axis=0))
    assert ((found.image >= 128) != found.mask).mean() < 0.01
    np.testing.assert_array_equal(corrupt_sample(sample, name, severity).image, found.image)
    assert corrupt_sample(sample, "shadow", severity).structures is structures


def test_chance_is_of_the_case_and_the_corruption():
    samples = [sample_of(Case(name), IMAGE, None) for name in ("one", "two")]
    one, two = (corrupt_sample(sample, "shadow", 5).image for sample in samples)
    assert (one != two).any()
    mild = corrupt_sample(samples[0], "shadow", 1).image
    assert (IMAGE.astype(int) - one)[(IMAGE.astype(int) - mild) > 3].min() > 3  # the same place


def test_those_of_medmnistc_are_theirs():
    image = resize_image(IMAGE, 224)
    rng = np.random.default_rng
    as_pillow = Pillow.fromarray(image)
    for severity in SEVERITIES:
        for name, make, factors in (
            ("bright", ImageEnhance.Brightness, medmnistc.BRIGHT),
            ("dark", ImageEnhance.Brightness, medmnistc.DARK),
            ("contrast", ImageEnhance.Contrast, medmnistc.CONTRAST),
        ):
            theirs = np.array(make(as_pillow).enhance(factors[severity - 1])).astype(int)
            assert np.abs(theirs - corrupt(image, f"medmnistc-{name}", severity, rng(0))).max() <= 1
        small = int(224 * medmnistc.PIXELATE[severity - 1])
        theirs = np.array(as_pillow.resize((small, small), Pillow.BOX).resize((224, 224), Pillow.BOX)).astype(int)
        ours = corrupt(image, "medmnistc-pixelate", severity, rng(0))
        np.testing.assert_array_equal(theirs, ours)
        radius, sigma = medmnistc.MOTION[severity - 1]
        dot = np.zeros((224, 224), np.uint8)
        dot[112, 112] = 255
        spread = corrupt(dot, "medmnistc-motion", severity, rng(0)).astype(float)
        weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
        found = np.sort(spread[spread > 0])[::-1]
        assert np.abs(found - 255 * (weights / weights.sum())[: len(found)]).max() <= 1.5


def test_names_groups_and_all_are_chosen_once():
    assert chosen(["gain", "medmnistc", "gain"]) == [
        "gain",
        *sorted(n for n in CORRUPTIONS if n.startswith("medmnistc-")),
    ]
    assert set(chosen(["all"])) == set(CORRUPTIONS)
    assert set(chosen(["ultrasound"])) | set(chosen(["medmnistc"])) == set(CORRUPTIONS)
    assert not set(medmnistc.ALEXNET) ^ set(chosen(["medmnistc"]))


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


def test_an_engine_that_runs_one_at_a_time_refuses_several(run):
    for name, workers in (("here", 1), ("local", 4), (None, 4)):
        check_engine(name, workers)
    with pytest.raises(BenchError, match=r"'here' runs one trial at a time.*--workers 4.*Use --engine local"):
        run(engine="here", workers=4)
    words = ["run", "--suite", "demo", "--engine", "here", "--workers", "4", "--dry-run"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, BenchError)  # the program's own entry makes exit 2 of it
    assert "--workers 4 asks for several at once" in str(done.exception)


@pytest.mark.parametrize(
    ("workers", "per_gpu", "expected"), [(None, 3, 6), (4, 3, 4), (6, 3, 6), (None, None, 2), (5, None, 5), (1, 1, 1)]
)
def test_trials_share_gpus_as_far_as_there_is_room(workers, per_gpu, expected, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert workers_here(SessionArguments(tmp_path, tmp_path, "cuda", workers=workers, per_gpu=per_gpu)) == expected


def test_more_trials_than_gpus_have_room_for_are_refused(monkeypatch, tmp_path, run):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(BenchError, match=r"--workers 7 with --per-gpu 3: 2 GPUs have room for 6 trials at once"):
        workers_here(SessionArguments(tmp_path, tmp_path, "cuda", workers=7, per_gpu=3))
    with pytest.raises(BenchError, match="--per-gpu shares GPUs, and trials run on the CPU"):
        run(workers=None, per_gpu=2)
    with pytest.raises(BenchError, match=r"'here' runs one trial at a time, and --per-gpu 2.*leave --per-gpu out"):
        check_engine("here", None, 2)


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
