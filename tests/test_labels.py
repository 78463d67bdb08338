"""Scores against label fractions: areas, labels to reach another model, the tables, the JSON and the figure."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from invented import invent_store
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.figures.labels import label_figures
from usfm_bench.reporting.sections.labels import in_images, label_sections
from usfm_bench.stats import crossed_interval
from usfm_bench.stats.components import difference_components
from usfm_bench.stats.intervals import interval_of
from usfm_bench.stats.label_curves import area_under, reached_at

GOOD, POOR = "usfm-micro-scratch", "timm:resnet18@scratch"
SHARES = (0.05, 0.2, 1.0)
REGISTRY = """
two:
  extends: phantom-lesion
  tasks: [classification]
  options: {n: 60, size: 64}
"""


def curves(slope, level, rng, seeds=4, cases=60, noise=0.1):
    """(P, S, U) scores that rise with the logarithm of the share: by `slope` from 5 % to all."""
    rise = slope * (np.log(SHARES) - np.log(SHARES[0])) / -np.log(SHARES[0])
    of_cases, of_seeds = rng.normal(0, noise, cases), rng.normal(0, noise / 5, (3, seeds, 1))
    return level + rise[:, None, None] + of_cases + of_seeds + rng.normal(0, noise, (3, seeds, cases))


# Statistics


def test_the_area_is_the_mean_over_the_logarithm_of_the_share():
    flat = np.full((3, 2, 5), 0.4) + np.arange(5) / 100
    assert_allclose(area_under(flat, np.array(SHARES)).point, 0.42)
    values = curves(0.5, 0.2, np.random.default_rng(0))
    fine = np.linspace(np.log(SHARES[0]), 0, 100_001)
    means = np.interp(fine, np.log(SHARES), values.mean(axis=(1, 2)))
    found = area_under(values, np.array(SHARES))
    assert_allclose(found.point, means.mean(), atol=1e-6)
    assert found.low < found.point < found.high


def test_the_area_of_one_curve_in_every_point_has_the_interval_of_a_point():
    scores = np.random.default_rng(1).random((3, 20))
    groups = np.arange(20) // 2
    found = area_under(np.stack([scores] * 3), np.array(SHARES), groups=groups, bounds=(0, 1))
    assert_allclose(found[:3], crossed_interval(scores, groups=groups, bounds=(0, 1))[:3])


@pytest.mark.parametrize("better", [True, False])
def test_a_score_is_reached_where_the_mean_curve_crosses_it(better):
    sign = 1 if better else -1
    rng = np.random.default_rng(2)
    values, target = sign * curves(0.6, 0.2, rng), sign * (0.5 + rng.normal(0, 0.05, (4, 60)))
    found = reached_at(values, np.array(SHARES), target, higher_is_better=better)
    means, logs = sign * values.mean(axis=(1, 2)), np.log(SHARES)
    fine = np.linspace(logs[0], 0, 200_001)
    crossed = np.exp(fine[np.argmax(np.interp(fine, logs, means) >= (sign * target).mean())])
    assert_allclose(found.share, crossed, rtol=1e-4)
    assert found.low < found.share < found.high
    for share, end in ((found.low, 1), (found.high, 0)):  # 0 is an end of the interval of the difference there
        k = int(share >= SHARES[1])
        t = (np.log(share) - logs[k]) / (logs[k + 1] - logs[k])
        parts = difference_components((1 - t) * values[k] + t * values[k + 1], target)
        at = interval_of(parts)
        ends = (at.low, at.high) if better else (-at.high, -at.low)
        assert_allclose(ends[end], 0, atol=2e-4)


def test_ends_beyond_the_curve_are_open():
    rng = np.random.default_rng(3)
    values = curves(0.3, 0.5, rng)
    shares = np.array(SHARES)

    def against(level):
        return reached_at(values, shares, level + rng.normal(0, 0.05, (4, 60)), higher_is_better=True)

    assert against(2.0) == (None, None, None, True)  # clearly below at every share
    assert against(-1.0) == (SHARES[0], SHARES[0], SHARES[0], True)  # clearly above already at the first
    near = against(values[-1].mean())
    assert near.high is None
    assert near.low > SHARES[0]


def test_without_any_spread_there_is_no_interval():
    flat = np.ones((3, 2, 4)) * np.array([0.1, 0.5, 0.9])[:, None, None]
    found = reached_at(flat, np.array(SHARES), np.full((2, 4), 0.5), higher_is_better=True)
    assert not found.known
    assert_allclose(found.share, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "cases"), [(3, 60), (5, 120)])
def test_the_interval_of_the_labels_needed_holds_the_truth(seeds, cases):
    rng, held, n = np.random.default_rng(4), 0, 1500
    truth = np.exp(np.log(SHARES[0]) * (1 - 0.5))  # half of the way up
    for _ in range(n):
        of_cases = rng.normal(0, 0.15, cases)
        values = curves(0.4, 0.3, rng, seeds, cases) + of_cases
        target = 0.5 + of_cases + rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.1, (seeds, cases))
        found = reached_at(values, np.array(SHARES), target, higher_is_better=True)
        held += found.low is not None and found.low <= truth and (found.high is None or truth <= found.high)
    assert held / n >= 0.93


# Reports


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    (folder / "registry.yaml").write_text(REGISTRY)
    names = [f"two@{100 * share:g}%" for share in SHARES]
    return build_report(
        invent_store(folder, folder / "registry.yaml", [GOOD, POOR], names, suite="busi-cls"), "busi-cls"
    )


def of(report, metric, model):
    return next(c for c in report.labels.curves if (c.metric, c.model) == (metric, model))


def test_a_curve_has_the_rows_of_the_tables_and_their_shares(report):
    curve = of(report, "ACC", GOOD)
    assert [point.share for point in curve.points] == list(SHARES)
    rows = {r.dataset: r for r in report.rows if (r.metric, r.model, r.label) == ("ACC", GOOD, None)}
    for point in curve.points:
        row = rows[f"two@{100 * point.share:g}%"]
        assert (point.mean, point.ci_low, point.ci_high) == (row.mean, row.ci_low, row.ci_high)
    means = [point.mean for point in curve.points]
    assert min(means) < curve.area.point < max(means)
    assert {c.metric for c in report.labels.curves} == {"ACC", "F1"}  # F1 by pseudo-values of groups


def test_every_model_is_held_against_every_other(report):
    assert {(n.model, n.other) for n in report.labels.needed} == {(GOOD, POOR), (POOR, GOOD)}
    for needed in report.labels.needed:
        assert needed.at == 1.0
        assert (needed.images is None) == (needed.share is None)
        assert in_images(needed).startswith(
            "not reached" if needed.share is None else ("≤ " if needed.share == 0.05 else "5")
        )


def test_the_sections_and_the_json_say_it(report):
    titles = [section.title for section in label_sections(report)]
    assert titles == ["Scores against labelled images, two", "Labelled images needed, two"]
    text = render([report], "markdown")
    assert "Area |" in text
    assert "Scores as much as" in text
    data = json.loads(render([report], "json"))["labels"]
    assert len(data["curves"]) == 4
    assert data["curves"][0]["area"]["interval"] == "seeds+cases"


def test_the_figure_has_a_panel_a_metric_and_a_line_a_model(report):
    [named] = label_figures(report, 180)
    axes = [a for part in named.figure.subfigs for a in part.axes]
    assert [a.get_ylabel() for a in axes] == ["ACC (%)", "F1 (%)"]
    assert all(sum(len(line.get_xdata()) == 3 for line in a.lines) == 2 for a in axes)
    assert "acc@1" in named.caption


def test_reports_without_parts_say_nothing_of_labels(tmp_path):
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    report = build_report(
        invent_store(tmp_path, tmp_path / "registry.yaml", [GOOD], ["two"], suite="busi-cls"), "busi-cls"
    )
    assert report.labels.curves == ()
    assert "Area" not in render([report], "markdown")
