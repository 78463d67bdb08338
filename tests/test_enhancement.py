"""The task of enhancing images, from training to tables and figures."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.resize import resize_image
from usfm_bench.metrics.enhancement import Restored, psnr_of
from usfm_bench.models.zoo.filters import FILTERS
from usfm_bench.reporting.figures.enhanced import Views, draw, line_of
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.model import resolve
from usfm_bench.specs.task import TASKS
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.tasks.enhancement import to_native

TASK = TASKS["enhancement"]
MODELS = "identity,median,unet-resnet18-scratch"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a registry of few small pairs, a short profile and finished trials."""
    folder = tmp_path_factory.mktemp("enhance")
    (folder / "datasets.yaml").write_text("pairs: {extends: phantom-enhance, options: {n: 30, size: 48}}\n")
    (folder / "short.yaml").write_text(
        "extends: smoke\nenhancement: {image_size: 32, epochs: 2, warmup_epochs: 0, frequency_loss: 0.5}\n"
    )
    done = call(folder, "run", "--datasets", "pairs", "--models", MODELS, "--seeds", "2", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert " dB" in done.output
    return folder


def call(folder, command, *words):
    where = ["--runs", str(folder / "runs")]
    if command == "run":
        where += ["--registry", str(folder / "datasets.yaml"), "--profile", str(folder / "short.yaml")]
    return CliRunner().invoke(app, [command, "--suite", "enhance-phantom", *where, *words])


def trials(place, model):
    return sorted(path.parent for path in (place / "runs").rglob("record.json") if f"/{model}/" in str(path))


def test_identity_is_the_input_to_the_last_level_also_where_sizes_differ(place):
    for folder in trials(place, "identity"):
        kept = load_predictions(folder / "predictions.npz")
        assert all(np.array_equal(a, b) for a, b in zip(kept.inputs, kept.outputs, strict=True))  # 48 px, seen at 32
        cases = pd.read_parquet(folder / "cases.parquet")
        expected = [psnr_of(Restored(a, b)) for a, b in zip(kept.inputs, kept.targets, strict=True)]
        assert cases["PSNR"].tolist() == pytest.approx(expected)


def test_filters_have_nothing_to_learn_and_are_the_same_for_every_seed(place):
    one, other = (pd.read_parquet(folder / "cases.parquet") for folder in trials(place, "median"))
    pd.testing.assert_frame_equal(one, other)
    record = json.loads((trials(place, "median")[0] / "record.json").read_text())
    assert record["cost"]["parameters"] == 0


def test_a_network_is_trained_with_the_frequency_loss(place):
    record = json.loads((trials(place, "unet-resnet18-scratch")[0] / "record.json").read_text())
    assert record["spec"]["training"]["frequency_loss"] == 0.5
    history = pd.read_csv(trials(place, "unet-resnet18-scratch")[0] / "history.csv")
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_undefined_values_are_null_and_counted(place):
    folder = trials(place, "identity")[0]
    cases = pd.read_parquet(folder / "cases.parquet")
    normal = cases["lesion_px"] == 0
    assert 0 < normal.sum() < len(cases)
    assert cases.loc[normal, "GCNR"].isna().all()
    assert cases.loc[~normal, "GCNR"].notna().all()
    scores = json.loads((folder / "record.json").read_text())["scores"]
    assert scores["n_undefined"]["GCNR"] == normal.sum()
    said = json.loads(call(place, "report", "--format", "json").stdout)["rows"]
    [row] = [r for r in said if (r["metric"], r["model"]) == ("GCNR", "identity")]
    assert row["n_cases"] == (~normal).sum()


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "json"])
def test_table_3_has_the_input_as_its_first_row_in_every_format(place, form):
    done = call(place, "report", "--format", form)
    assert done.exit_code == 0, done.output
    text = done.stdout[max(0, done.stdout.find("Comparison results on enhancement tasks")) :]
    assert text.index("identity") < text.index("median") < text.index("unet-resnet18-scratch")
    if form == "json":
        rows = json.loads(done.stdout)["rows"]
        assert {row["table"] for row in rows} == {"3"}
        psnr = next(row for row in rows if row["metric"] == "PSNR")
        assert psnr["model"] == "identity"
        assert psnr["unit"] == "dB"
        assert psnr["ci_low"] < psnr["mean"] < psnr["ci_high"]
    elif form == "csv":
        assert {row["table"] for row in csv.DictReader(io.StringIO(text))} == {"3"}
    else:
        assert "PSNR (dB)" in text


@pytest.mark.slow
def test_the_page_and_the_figures_show_the_images(place):
    assert call(place, "report", "--format", "html", "--out", str(place / "page")).exit_code == 0
    assert "PSNR" in (place / "page" / "index.html").read_text(encoding="utf-8")
    assert call(place, "report", "--figures", str(place / "figures")).exit_code == 0
    assert len(list((place / "figures").glob("enhanced-*.png"))) == 3


def test_kept_predictions_are_scored_anew_by_other_readings(place):
    words = ["score", str(place / "runs"), "--definition", "lncc.rexmle.native", "--definition", "lncc.cosine.native"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "lncc.rexmle.native@1" in done.output


def test_new_images_are_enhanced(place, tmp_path):
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "one.png"), image)
    trial = str(trials(place, "median")[0])
    done = CliRunner().invoke(app, ["predict", trial, str(tmp_path / "one.png"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    [written] = (tmp_path / "out").glob("*.png")
    assert cv2.imread(str(written), cv2.IMREAD_GRAYSCALE).shape == image.shape


def test_predictions_are_read_back(place, tmp_path):
    kept = load_predictions(trials(place, "median")[0] / "predictions.npz")
    save_predictions(tmp_path / "p.npz", kept)
    again = load_predictions(tmp_path / "p.npz")
    for name in ("inputs", "outputs", "targets", "lesions"):
        assert all(np.array_equal(a, b) for a, b in zip(getattr(kept, name), getattr(again, name), strict=True))


def test_what_a_network_changes_is_added_at_the_images_own_size():
    image = np.random.default_rng(1).integers(60, 190, (64, 64)).astype(np.uint8)
    lighter = (resize_image(image, 32) + 20).astype(np.float32) / 255
    assert np.array_equal(to_native(lighter, image, 32), image + 20)


def test_validation_is_one_less_the_mean_absolute_error():
    good = torch.tensor([[[[0.0, 255.0]]]])
    assert TASK.validate([(torch.tensor([[[[0.5, 1.0]]]]), good)]) == pytest.approx(0.75)


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_has_a_name_and_keeps_size_and_type(name):
    image = np.random.default_rng(2).integers(0, 256, (40, 48)).astype(np.uint8)
    filtered = FILTERS[resolve(name).architecture](image)
    assert (filtered.shape, filtered.dtype) == (image.shape, np.uint8)
    assert resolve(name).tasks == ("enhancement",)
    entry = resolve(f"{name}@frozen")
    network = FAMILIES[entry.family].image_filter(entry)
    network.freeze()
    said = network(torch.from_numpy(image / np.float32(255))[None, None].expand(1, 3, 40, 48))
    assert np.array_equal((said[0, 0] * 255).round().numpy(), filtered)


@pytest.mark.parametrize("name", ["median", "bilateral", "nlmeans"])
def test_denoising_filters_take_noise_away(name):
    rng = np.random.default_rng(4)
    clean = np.where(np.hypot(*np.mgrid[-40:40, -40:40]) < 20, 90, 160).astype(np.uint8)
    noisy = np.clip(clean + rng.normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    assert psnr_of(Restored(FILTERS[name](noisy), clean)) > psnr_of(Restored(noisy, clean)) + 2


def test_what_does_not_fit_the_task_is_said():
    registry = load_registry()
    with pytest.raises(BenchError, match="'median' is for enhancement"):
        plan_suite(load_suite("busi-seg"), registry, models=["median"])
    with pytest.raises(BenchError, match="Dataset 'phantom' is for"):
        plan_suite(load_suite("enhance-phantom"), registry, datasets=["phantom"])
    data = open_dataset(registry["phantom"].model_copy(update={"options": {"n": 30, "size": 32}}), Path())
    with pytest.raises(DataError, match="has no good image"):
        TASK.targets(data, 32)


@pytest.fixture
def page(browser, place, tmp_path):
    """The report's page, opened in headless Chromium; the console must stay clean."""
    done = call(place, "report", "--format", "html", "--out", str(tmp_path / "page.html"), "--data-root", str(place))
    assert done.exit_code == 0, done.output
    faults = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.on("console", lambda m: faults.append(m.text) if m.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto((tmp_path / "page.html").as_uri())
    yield opened
    opened.close()
    assert faults == []


def test_a_slider_stands_between_input_and_output(page):
    case = page.locator(".browser .case")
    cards = case.locator(".card")
    assert cards.locator("h4").all_text_contents() == ["Target", *MODELS.split(",")]
    output = cards.nth(2).locator("img.output")
    source, box = output.get_attribute("src"), output.bounding_box()
    assert source.startswith("data:image/jpeg")
    assert source != cards.nth(2).locator("img").first.get_attribute("src")
    assert cards.nth(1).locator("img.output").get_attribute("src") == cards.nth(1).locator("img").first.get_attribute(
        "src"
    )
    assert box["width"] > 100
    shown = "image => getComputedStyle(image).clipPath"
    assert output.evaluate(shown) == "inset(0px 0px 0px 50%)"
    slider = cards.nth(2).get_by_label("How much of the input is shown")
    title = case.locator("h4").first.text_content()
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert output.evaluate(shown) == "inset(0px 0px 0px 51%)"
    assert case.locator("h4").first.text_content() == title  # arrows move the slider, not to another case
    slider.fill("0")
    assert output.evaluate(shown).startswith("inset(0px")
    assert "Image of seed 0." in cards.nth(2).text_content()


def test_a_page_without_images_has_no_enhanced_ones_either(place, tmp_path):
    done = call(place, "report", "--format", "html", "--out", str(tmp_path / "page.html"), "--no-images")
    assert done.exit_code == 0, done.output
    assert "data:image/jpeg" not in (tmp_path / "page.html").read_text()


def test_a_profile_runs_through_the_middle_of_the_lesion(place):
    image, lesion = np.zeros((20, 30), np.uint8), np.zeros((20, 30), bool)
    assert line_of(image, None) == line_of(image, lesion) == 10
    lesion[2:7, 4:9] = True
    assert line_of(image, lesion) == 4
    rng = np.random.default_rng(0)
    views = Views(*(rng.integers(0, 256, (20, 30)).astype(np.uint8) for _ in range(3)), line=4)
    figure = draw([views, views], ["best", "worst"], 170)
    profiles = [axes for axes in figure.axes if len(axes.lines) == 3]
    assert len(profiles) == 2
    for line, image in zip(profiles[0].lines, views[:3], strict=True):
        assert line.get_ydata().tolist() == image[4].tolist()
