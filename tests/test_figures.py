import io
import itertools
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn import metrics as sk

from invented import invent_store
from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.calibration import calibration_error
from usfm_bench.reporting import build_report
from usfm_bench.reporting.figures import NamedFigure, draw_all, write_figures
from usfm_bench.reporting.figures.confusion import confusion_of, confusion_panels
from usfm_bench.reporting.figures.curves import curve_figures, curves_of, pr_of, roc_of
from usfm_bench.reporting.figures.distribution import distribution_figures
from usfm_bench.reporting.figures.draw import rendered
from usfm_bench.reporting.figures.forest import columns_of, forest, forest_figures
from usfm_bench.reporting.figures.group import groups_of, labels_of
from usfm_bench.reporting.figures.lesion_size import Sized, bins_of, lesion_size_figures
from usfm_bench.reporting.figures.paired import paired, paired_figures, pairs_of
from usfm_bench.reporting.figures.reliability import reliability_of
from usfm_bench.reporting.figures.sheets import MOST_MISSED, Shown, choose, sheet, sheet_figures
from usfm_bench.reporting.figures.style import looks_of, shown, style
from usfm_bench.reporting.figures.training import read_history
from usfm_bench.reporting.rows import Row
from usfm_bench.results.predictions import load_predictions, load_spacings
from usfm_bench.results.store import Store
from usfm_bench.stats import compare

BOTH = ("tiny-lesion", "tiny")
MODELS = ("usfm-micro-scratch", "usfm-tiny-scratch")
NASTY = ("<img src=x onerror=alert(1)> $\\frac{$", "модель 模型 é {x}%s\\n_&\x1b[31m--", "a" * 120)


def copied(store: Store, names: list[str]) -> Store:
    """The store with its one model's trials under other names instead."""
    for folder, record in list(store.finished("demo")):
        for name in names:
            spec = record.spec.model_copy(update={"model": name})
            target = store.folder(spec)
            shutil.copytree(folder, target)
            (target / "record.json").write_text(record.model_copy(update={"spec": spec}).model_dump_json())
        shutil.rmtree(folder)
    return store


def change_cases(store: Store, change) -> None:
    for folder, _ in store.finished("demo"):
        path = folder / "cases.parquet"
        change(pd.read_parquet(path)).to_parquet(path, index=False)


def drawn(store: Store) -> dict[str, NamedFigure]:
    """Every figure by name, laid out, since much is worked out only then."""
    report = build_report(store, "demo")
    figures = {named.name: named for named in draw_all(report, store)}
    with style():
        for named in figures.values():
            named.figure.draw_without_rendering()
    return figures


def words_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_registry):
    return invent_store(tmp_path_factory.mktemp("store"), tiny_registry, MODELS, BOTH)


@pytest.fixture(scope="module")
def report(store):
    return build_report(store, "demo")


@pytest.fixture(scope="module")
def figures(report, store):
    return {named.name: named for named in draw_all(report, store)}


@pytest.fixture(scope="module")
def groups(report, store):
    return {group.dataset: group for group in groups_of(report, store, 180, None)}


def test_both_tasks_have_their_figures(figures):
    assert {name.split("-")[0] for name in figures if name.endswith("tiny-lesion")} == {
        *("forest", "cases", "size", "paired", "training", "sheet")
    }
    assert {name.split("-")[0] for name in figures if name.endswith("tiny")} == {
        *("forest", "curves", "confusion", "reliability", "paired", "training")
    }


def test_captions_say_definitions_seeds_and_cases(figures):
    for name, named in figures.items():
        assert "3 seeds" in named.caption or "3 trials" in named.caption, name
        assert "synthetic" in named.title
        if not name.startswith("training"):
            assert "cases" in named.caption, name
    for name, ident in {
        **{"forest-tiny-lesion": "dsc.native@1", "cases-tiny-lesion": "hd95.pooled.native.px@1"},
        **{"size-tiny-lesion": "dsc.native@1", "paired-tiny": "acc@1", "reliability-tiny": "ece.top.15bins@1"},
    }.items():
        assert ident in figures[name].caption


def test_forest_markers_stand_at_the_rows_means(figures, report):
    [axes, *_] = figures["forest-tiny-lesion"].figure.axes
    rows = [r for r in report.rows if (r.metric, r.dataset) == ("DSC", "tiny-lesion")]
    looks = looks_of(MODELS)
    marks = [line for line in axes.lines if line.get_marker() in {look.marker for look in looks.values()}]
    bars = [line for line in axes.lines if line.get_marker() == "|"]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([100 * row.mean for row in rows])
    expected = [[100 * row.ci_low, 100 * row.ci_high] for row in rows]
    assert [list(bar.get_xdata()) for bar in bars] == [pytest.approx(ends) for ends in expected]
    assert [mark.get_ydata()[0] for mark in marks] == list(axes.get_yticks())
    assert [label.get_text() for label in axes.get_yticklabels()] == [shown(row.model) for row in rows]


def test_a_published_value_is_a_star_and_its_hd95_is_not_drawn():
    common = {"table": "1", "dataset": "d", "source": "measured", "n_seeds": 3, "n_cases": 9}
    rows = [
        Row(table="1", dataset="BUSI", model="USFM", metric="DSC", unit="fraction", source="reported", mean=0.843),
        Row(table="1", dataset="BUSI", model="USFM", metric="HD95", unit=None, source="reported", mean=16.7),
        Row(**common, model="m", metric="DSC", unit="fraction", mean=0.5, ci_low=0.4, ci_high=0.6),
        Row(**common, model="m", metric="HD95", unit="px", mean=20.0),
    ]
    figure = forest(rows, columns_of(rows, ("DSC", "HD95")), looks_of(["m"]), 180)
    dsc, hd95 = figure.axes
    assert [line.get_xdata()[0] for line in dsc.lines if line.get_marker() == "*"] == [pytest.approx(84.3)]
    assert [line.get_marker() for line in hd95.lines] == ["o"]
    assert hd95.lines[0].get_xdata()[0] == 20.0
    assert hd95.lines[0].get_markerfacecolor() == "white"
    assert [text.get_text() for text in hd95.texts] == ["another quantity"]
    assert "USFM (as\npublished)" in words_of(figure) or "USFM (as published)" in words_of(figure)


def test_published_values_stand_beside_the_same_data_alone(store, report, groups):
    assert any(row.source == "reported" for row in report.rows)
    assert all(row.source == "measured" for group in groups.values() for row in group.rows)
    results = [r for r in report.results if r.first.spec.dataset.name == "tiny-lesion"]
    spec = results[0].first.spec
    dataset = spec.dataset.model_copy(update={"paper_label": "BUSI"})
    first = results[0].first.model_copy(update={"spec": spec.model_copy(update={"dataset": dataset})})
    named = replace(report, results=(replace(results[0], records=(first, *results[0].records[1:])),))
    [group] = groups_of(named, store, 180, None)
    assert {row.dataset for row in group.rows if row.source == "reported"} == {"BUSI"}


def test_dots_are_the_means_over_seeds_and_crosses_the_missed_lesions(figures, groups):
    [axes, *_] = figures["cases-tiny-lesion"].figure.axes
    results = groups["tiny-lesion"].results[0]
    dots, crosses = [next(line for line in axes.lines if line.get_marker() == m) for m in ("o", "x")]
    expected = 100 * results.matrix("DSC").mean(axis=0)
    missed = (results.matrix("missed") > 0).any(axis=0)
    assert sorted(dots.get_xdata()) == pytest.approx(sorted(expected[~missed]))
    assert list(crosses.get_xdata()) == pytest.approx(expected[missed])
    assert list(crosses.get_xdata()) == [0.0]


def test_the_area_under_the_drawn_roc_is_the_auroc(groups):
    for results in groups["tiny"].results:
        for k in range(len(results.first.classes)):
            curves = curves_of(results, k)
            assert (curves.roc.x[0], curves.roc.x[-1]) == (0, 1)
            assert set(curves.roc.y[:, 0]) == {0}
            assert set(curves.roc.y[:, -1]) == {1}
            assert np.trapezoid(curves.roc.y, curves.roc.x).mean() == pytest.approx(curves.roc.area)
            assert np.trapezoid(curves.pr.y, curves.pr.x).mean() == pytest.approx(curves.pr.area)


def test_areas_hold_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(30):
        true = rng.random(20) < 0.4
        true[:2] = True, False
        scores = rng.integers(0, 4, size=(1, 20)) / 4
        roc, pr = roc_of(true, scores), pr_of(true, scores)
        assert np.trapezoid(roc.y[0], roc.x) == pytest.approx(sk.roc_auc_score(true, scores[0]))
        assert np.trapezoid(pr.y[0], pr.x) == pytest.approx(sk.average_precision_score(true, scores[0]))


def test_bands_go_from_the_lowest_to_the_highest_seed(figures, groups):
    results = groups["tiny"].results[0]
    name = results.first.classes[0]
    roc, pr = figures[f"curves-{name}-tiny"].figure.axes
    curve = curves_of(results, 0).roc
    band = roc.collections[0].get_paths()[0].vertices
    for ends in (curve.y.min(axis=0), curve.y.max(axis=0)):
        assert all((band == point).all(axis=1).any() for point in zip(curve.x, ends, strict=True))
    prevalence = (labels_of(results) == 0).mean()
    assert list(pr.lines[0].get_ydata()) == [prevalence, prevalence]


def test_confusion_counts_sum_to_the_cases(figures, groups):
    for results, axes in zip(groups["tiny"].results, figures["confusion-tiny"].figure.axes, strict=True):
        matrix, labels = confusion_of(results), labels_of(results)
        assert matrix.sum() == pytest.approx(len(labels))
        assert matrix.sum(axis=1) == pytest.approx(np.bincount(labels))
        expected = np.mean([r.scores["confusion"] for r in results.records], axis=0)
        assert matrix == pytest.approx(expected)
        shades = np.asarray(axes.collections[0].get_array())
        assert shades == pytest.approx(expected / expected.sum(axis=1, keepdims=True))
        assert [label.get_position()[0] for label in axes.get_xticklabels()] == [0.5, 1.5, 2.5]
        assert axes.yaxis.get_inverted()
        written = {tuple(text.get_position()): text.get_text().split("\n")[0] for text in axes.texts}
        assert {place: float(n) for place, n in written.items()} == {
            (j + 0.5, i + 0.5): pytest.approx(n, abs=0.051) for (i, j), n in np.ndenumerate(matrix)
        }


def test_reliability_bins_hold_every_prediction_of_every_seed(groups):
    for results in groups["tiny"].results:
        found, labels = reliability_of(results), labels_of(results)
        assert found.size.sum() == 3 * len(labels)
        pooled = results.probabilities.reshape(-1, len(results.first.classes))
        known = found.size > 0
        gaps = np.abs(found.accuracy - found.confidence)[known] @ found.size[known] / found.size.sum()
        assert gaps == pytest.approx(calibration_error(pooled, np.tile(labels, 3)))
        assert found.scaled.ece == pytest.approx(
            np.mean([calibration_error(p, labels) for p in results.scaled_probabilities])
        )


def test_paired_differences_and_their_interval_are_those_of_compare(figures, groups):
    a, b = groups["tiny-lesion"].results
    pair = paired(a, b, "DSC")
    groups_of_cases = a.case_table["group_id"].tolist()
    expected = compare(a.matrix("DSC"), b.matrix("DSC"), groups=groups_of_cases).difference
    assert pair.interval == expected
    assert pair.differences.mean() == pytest.approx(expected.point)
    axes = figures["paired-tiny-lesion"].figure.axes[0]
    up, down = (patch.get_data().values for patch in axes.patches[:2])
    assert up + down == pytest.approx(100 * pair.differences)
    assert axes.lines[-1].get_ydata()[0] == pytest.approx(100 * expected.point)


def test_more_than_three_models_are_compared_with_the_best(groups):
    a, b = groups["tiny-lesion"].results
    assert pairs_of([a, b, a], "DSC") == [(a, b), (a, a), (b, a)]
    best = max((a, b), key=lambda r: r.matrix("DSC").mean())
    other = a if best is b else b
    assert pairs_of([other, other, best, other], "DSC") == [(other, best)] * 3


def test_models_without_a_common_seed_are_named(make_store):
    store = make_store(models=MODELS[:2])
    for folder, record in list(store.finished("demo")):
        if record.spec.model == MODELS[0] and record.spec.seed == 0:
            continue
        if record.spec.model == MODELS[1] and record.spec.seed == 1:
            continue
        shutil.rmtree(folder)
    [group] = groups_of(build_report(store, "demo"), store, 180, None)
    [named] = paired_figures(group)
    assert "no seed or case in common: usfm-micro-scratch and usfm-tiny-scratch" in named.caption


def test_bins_of_lesion_size_hold_equally_many_cases_and_an_interval():
    rng = np.random.default_rng(0)
    size = rng.permutation(np.arange(1.0, 41))
    lesions = Sized("m", size, np.stack([size / 40, size / 40]), np.zeros(40, bool), [str(i) for i in range(40)])
    bins = bins_of(lesions)
    assert [each.interval.point for each in bins] == pytest.approx([(8 * i + 4.5) / 40 for i in range(5)])
    assert all(each.interval.low < each.interval.point < each.interval.high for each in bins)
    assert bins[0].size == pytest.approx(np.exp(np.log(np.arange(1, 9)).mean()))
    few = Sized("m", size[:15], lesions.scores[:, :15], lesions.missed[:15], lesions.groups[:15])
    assert bins_of(few) == []


def test_sizes_are_in_square_millimetres_where_every_spacing_is_known(figures, groups):
    assert "mm²" in words_of(figures["size-tiny-lesion"].figure)
    group = groups["tiny-lesion"]
    [(_, folder), *_] = group.trials(group.results[0])
    kept = load_predictions(folder / "predictions.npz")
    assert load_spacings(folder / "predictions.npz") == dict(zip(kept.case_ids, kept.spacings, strict=True))


def test_histories_are_read_as_they_were_written(tmp_path):
    (tmp_path / "history.csv").write_text("val_score,epoch,lr,loss\n,1,0.1,2.5\n0.4,2,0.1,1.5\n")
    history = read_history(tmp_path, "m", 2)
    assert (history.epoch.tolist(), history.loss.tolist(), history.best_epoch) == ([1, 2], [2.5, 1.5], 2)
    assert np.isnan(history.score[0])
    assert history.score[1] == 0.4
    for text in ("", "epoch,loss\n", "epoch,loss\nx,y\n"):
        (tmp_path / "history.csv").write_text(text)
        assert read_history(tmp_path, "m", 2) is None


def test_a_sheet_has_best_median_worst_and_every_missed_lesion(groups):
    results = groups["tiny-lesion"].results[0]
    means = pd.Series(results.matrix("DSC").mean(axis=0), results.case_table["case_id"]).sort_values(kind="stable")
    cases, left_out = choose(results)
    why = {case.case_id: case.why for case in cases}
    assert left_out == 0
    assert why[means.index[-1]] == "best"
    assert why[means.index[(len(means) - 1) // 2]] == "median"
    assert why[means.index[0]] == "worst, missed in 3 of 3 seeds"
    assert {case.case_id: case.dsc for case in cases} == pytest.approx(means[list(why)].to_dict())


def test_missed_lesions_beyond_the_limit_are_counted(make_store):
    store = make_store(models=MODELS[:1], seeds=2)
    change_cases(store, lambda cases: cases.assign(missed=True, DSC=0.0, pred_px=0))
    [group] = groups_of(build_report(store, "demo"), store, 180, None)
    [named] = sheet_figures(group)
    # Best, median and worst are missed too and stand on the sheet in any case.
    assert len(named.figure.axes) == 3 + MOST_MISSED
    n = len(group.results[0].case_table)
    assert f"{n - 3 - MOST_MISSED} more missed lesions are left out" in named.caption


def test_contours_go_around_the_masks():
    reference = np.zeros((20, 30), bool)
    reference[5:10, 0:8] = True  # at the edge of the image
    prediction = np.zeros_like(reference)
    prediction[6:12, 3:9] = True
    figure = sheet([Shown("c", "best", 0.5, reference, [prediction])], looks_of(["m"])["m"], 180)
    lines = [c.get_paths()[0].vertices for c in figure.axes[0].collections if not c.filled]
    (left, top), (right, bottom) = lines[0].min(axis=0), lines[0].max(axis=0)
    assert (left, top, right, bottom) == (-0.5, 4.5, 7.5, 9.5)
    assert tuple(lines[1].max(axis=0)) == (8.5, 11.5)


def test_no_image_is_drawn_unless_asked_for(make_store, tmp_path):
    store = make_store(models=MODELS[:1], seeds=1)
    report = build_report(store, "demo")

    def pictures(**options) -> int:
        named = {figure.name: figure for figure in draw_all(report, store, **options)}[
            "sheet-usfm-micro-scratch-tiny-lesion"
        ]
        return sum(len(axes.images) for axes in named.figure.axes)

    assert pictures() == pictures(data_root=tmp_path) == pictures(images=True) == 0
    assert pictures(data_root=tmp_path, images=True) == 3


def test_images_of_other_data_are_refused(groups, tmp_path):
    group = groups["tiny-lesion"]
    results = group.results[0]
    other = results.first.model_copy(update={"data_hash": "0" * 64})
    changed = replace(results, records=(other, *results.records[1:]))
    [named] = sheet_figures(replace(group, results=(changed,), image_root=tmp_path))
    assert "is not what the trials were made with" in named.caption
    assert not any(axes.images for axes in named.figure.axes)


@pytest.mark.parametrize("structures", [(), ("cavity", "wall", "atrium")], ids=["one", "three"])
@pytest.mark.parametrize("shape", [(40, 40), (40, 90), (90, 40)], ids=str)
@pytest.mark.parametrize("n_cases", [1, 4, 15])
def test_titles_of_a_sheet_lie_within_the_figure(n_cases, shape, structures):
    reference = np.zeros((*([len(structures)] if structures else []), *shape), bool)
    reference[..., 10:30, 10:30] = True
    why = ["best", "median, missed in 2 of 3 seeds", "worst, missed in 12 of 12 seeds, " + "far " * 12]
    cases = [Shown("WIDE NAME " * (k % 3 + 1), why[k % 3], 0.5, reference, [reference]) for k in range(n_cases)]
    figure = sheet(cases, looks_of(["m"])["m"], 180, structures)
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.title.get_window_extent().y1 <= figure.bbox.y1


def test_without_kept_predictions_all_but_sheets_are_drawn(make_store):
    store = make_store(datasets=BOTH, models=MODELS[:1])
    for folder, _ in store.finished("demo"):
        (folder / "predictions.npz").unlink()
        (folder / "history.csv").unlink()
    figures = {named.name: named for named in draw_all(build_report(store, "demo"), store)}
    sheet_figure = figures["sheet-usfm-micro-scratch-tiny-lesion"]
    assert "no masks were kept" in sheet_figure.caption
    assert "predictions.npz" in words_of(sheet_figure.figure)
    assert "history.csv" in figures["training-tiny"].caption
    assert "(px)" in words_of(figures["size-tiny-lesion"].figure)
    assert len(figures["reliability-tiny"].figure.axes) == 2


def test_the_same_report_gives_the_same_bytes(groups, figures):
    kinds = [forest_figures, paired_figures, distribution_figures, sheet_figures]
    again = [next(kind(groups["tiny-lesion"])) for kind in kinds] + [next(curve_figures(groups["tiny"]))]
    names = ["forest-tiny-lesion", "paired-tiny-lesion", "cases-tiny-lesion", "sheet-usfm-micro-scratch-tiny-lesion"]
    for name, one in zip([*names, "curves-normal-tiny"], again, strict=True):
        assert rendered(figures[name].figure, "svg") == rendered(one.figure, "svg"), name
    # Layout and drawing leave nothing behind that a second file would show.
    assert rendered(figures["forest-tiny-lesion"].figure, "svg") == rendered(again[0].figure, "svg")
    assert rendered(figures["forest-tiny-lesion"].figure, "png") == rendered(again[0].figure, "png")


def test_files_are_named_as_their_figures(figures, tmp_path):
    some = [figures["forest-tiny"], figures["cases-tiny-lesion"]]
    written = write_figures(tmp_path, some)
    assert [named for named, _ in written] == some
    expected = {f"{name}.{form}" for name in ("forest-tiny", "cases-tiny-lesion") for form in ("svg", "png")}
    assert {path.name for _, paths in written for path in paths} == expected == {p.name for p in tmp_path.iterdir()}
    assert b"<dc:date>" not in (tmp_path / "forest-tiny.svg").read_bytes()


def test_a_users_own_settings_change_nothing_and_are_left_alone(store, report):
    def one() -> bytes:
        return rendered(next(draw_all(report, store)).figure, "svg")

    expected = one()
    with mpl.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "font.size": 30, "text.parse_math": True}):
        before = dict(mpl.rcParams)
        assert one() == expected
        assert dict(mpl.rcParams) == before


@pytest.fixture(scope="module")
def nasty(tmp_path_factory, tiny_registry):
    """Width -> figures of a report whose models, classes and data sets have odd names."""
    store = invent_store(tmp_path_factory.mktemp("nasty"), tiny_registry, MODELS[:1], BOTH, seeds=1)
    copied(store, list(NASTY))
    for folder, record in store.finished("demo"):
        dataset = record.spec.dataset.model_copy(update={"name": f"$x$ <b> {record.spec.dataset.name}"})
        classes = dict(zip(record.classes, ("$", "<script>", "界"), strict=False))
        spec = record.spec.model_copy(update={"dataset": dataset})
        changed = record.model_copy(update={"spec": spec, "classes": tuple(classes.values())})
        (folder / "record.json").write_text(changed.model_dump_json())
        cases = pd.read_parquet(folder / "cases.parquet")
        cases.rename(columns={f"p_{a}": f"p_{b}" for a, b in classes.items()}).to_parquet(folder / "cases.parquet")
    report = build_report(store, "demo")
    return cache(lambda width: list(draw_all(report, store, width=width)))


def one_of_a_kind(figures):
    """The first figure of each kind and data set; the others differ in numbers alone."""
    return list({(named.name.split("-")[0], named.title[-20:]): named for named in reversed(figures)}.values())


@pytest.mark.slow
def test_any_name_is_drawn_as_text(nasty):
    names = [named.name for named in nasty(85)]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", name) for name in names)
    for named in one_of_a_kind(nasty(85)):
        svg = rendered(named.figure, "svg")
        assert b"<img" not in svg
        assert b"<script" not in svg
        ET.fromstring(svg)
    words = words_of(next(named.figure for named in nasty(85) if re.fullmatch(r"forest.*lesion", named.name)))
    assert "$\\frac{$" in words.replace("\n", " ")
    assert "a" * 120 in words.replace("\n", "")
    assert "\x1b" not in words


@pytest.mark.parametrize("width", [85, pytest.param(180, marks=pytest.mark.slow)])
def test_nothing_reaches_beyond_the_figure(nasty, width):
    for named in one_of_a_kind(nasty(width)):
        named.figure.set_dpi(40)
        with style():
            canvas = FigureCanvasAgg(named.figure)
            canvas.draw()
            box, (right, top) = named.figure.get_tightbbox(canvas.get_renderer()), named.figure.get_size_inches()
        assert box.x0 > -0.02, named.name
        assert box.y0 > -0.02, named.name
        assert box.x1 < right + 0.02, named.name
        assert box.y1 < top + 0.02, named.name
        assert right == pytest.approx(width / 25.4) or right < width / 25.4


def test_twenty_models_fit(groups):
    names = [f"model-{i:02d}@scratch" for i in range(20)]
    group = groups["tiny-lesion"]
    one = group.results[0]
    own = [row for row in group.rows if row.model == one.first.spec.model]
    specs = [one.first.spec.model_copy(update={"model": name}) for name in names]
    results = [replace(one, records=(one.first.model_copy(update={"spec": spec}),)) for spec in specs]
    folders = {(name, 0, seed): folder for name in names for (_, _, seed), folder in group.folders.items()}
    rows = [replace(row, model=name) for name in names for row in own]
    group = replace(group, results=tuple(results), rows=tuple(rows), looks=looks_of(names), folders=folders)
    [forest_plot], [size], [pairs] = map(
        list, (f(group) for f in (forest_figures, lesion_size_figures, paired_figures))
    )
    assert len(size.figure.axes) == 5
    assert [len(part.legends[0].legend_handles) for part in size.figure.subfigs[:5]] == [4] * 5
    assert len(pairs.figure.axes) == 19
    with style():
        forest_plot.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in forest_plot.figure.axes[0].get_yticklabels()]
    assert len(boxes) == 20
    assert all(a.y0 >= b.y1 for a, b in itertools.pairwise(boxes))


def test_models_of_one_colour_differ_in_marker_and_line():
    names = [f"model-{i:02d}" for i in range(20)]
    looks = looks_of(names)
    assert len(set(looks.values())) == len({(look.marker, look.line, look.colour) for look in looks.values()}) == 20
    by_colour = {
        look.colour: [other for other in looks.values() if other.colour == look.colour] for look in looks.values()
    }
    for alike in by_colour.values():
        assert len({look.marker for look in alike}) == len({look.line for look in alike}) == len(alike)


def test_one_seed_and_one_case_are_drawn_without_intervals(make_store):
    store = make_store(datasets=BOTH, models=MODELS[:1], seeds=1)
    change_cases(store, lambda cases: cases[:1])
    figures = drawn(store)
    assert "Hollow, without an interval" in figures["forest-tiny-lesion"].caption
    assert "1 seed, 1 case" in figures["forest-tiny-lesion"].caption
    titles = [axes.get_title() for axes in figures["sheet-usfm-micro-scratch-tiny-lesion"].figure.axes]
    assert len(titles) == 1
    assert "best, median, worst" in titles[0].replace("\n", " ")
    assert "of 1 test cases are of this class" in figures["curves-normal-tiny"].caption


def test_a_class_without_a_case_is_said(make_store):
    store = make_store(datasets=["tiny"], models=MODELS[:1], seeds=1)
    change_cases(store, lambda cases: cases[cases["label"] != 1])
    figures = drawn(store)
    assert "0 of" in figures["curves-benign-tiny"].caption
    assert "No test case: benign" in figures["confusion-tiny"].caption
    assert words_of(figures["confusion-tiny"].figure).count("no case") == 3
    assert "no band over seeds" in figures["curves-normal-tiny"].caption


def test_all_lesions_missed_and_undefined_scores_are_drawn_or_said(make_store):
    store = make_store(models=MODELS[:1], seeds=2)
    change_cases(store, lambda cases: cases.assign(missed=True, DSC=0.0, pred_px=0, HD95=np.nan, HD95_mm=np.nan))
    figures = drawn(store)
    assert "n/a, undefined: HD95" in figures["forest-tiny-lesion"].caption
    assert "Not shown, undefined in at least one seed" in figures["cases-tiny-lesion"].caption


def test_a_test_set_without_lesions_is_said(make_store):
    store = make_store(models=MODELS[:1], seeds=1)
    change_cases(store, lambda cases: cases.assign(lesion=False, missed=False))
    figures = drawn(store)
    assert "no test case has a lesion" in figures["size-tiny-lesion"].caption
    assert "no test case has a lesion" in figures["sheet-usfm-micro-scratch-tiny-lesion"].caption


def test_many_classes_have_shades_without_figures():
    figure = confusion_panels(["m"], [np.eye(12)], [f"class number {i}" for i in range(12)], 180)
    assert list(figure.axes[0].texts) == []
    with style():
        figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == 12
    assert all(a.y0 >= b.y1 for a, b in itertools.pairwise(boxes))


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(BenchError, match=r"Unknown format of figures 'pgn'\. Did you mean 'png'"):
        write_figures(tmp_path, [], ("pgn",))


def test_png_files_have_print_resolution(figures):
    named = figures["forest-tiny-lesion"]
    content = mpl.image.imread(io.BytesIO(rendered(named.figure, "png")))
    assert content.shape[1] == pytest.approx(180 / 25.4 * 300, abs=1)


@pytest.mark.slow
def test_drawing_leaves_nothing_in_pyplot_chooses_no_backend_and_needs_no_torch(store):
    code = (
        "import sys; from pathlib import Path; from usfm_bench.results.store import Store\n"
        "from usfm_bench.reporting import build_report; from usfm_bench.reporting.figures import draw_all\n"
        "import matplotlib as mpl; settings = {k: v for k, v in dict.items(mpl.rcParams)}\n"
        f"s = Store(Path({str(store.root)!r})); report = build_report(s, 'demo')\n"
        "print('seaborn' in sys.modules, len(list(draw_all(report, s, sheets=False))), 'seaborn' in sys.modules)\n"
        "from matplotlib import pyplot\n"
        "print(pyplot.get_fignums(), settings == dict(dict.items(mpl.rcParams)), 'torch' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    cwd = Path(__file__).parents[1] / "benchmark"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.stdout == "False 13 True\n[] True False\n", done.stderr
