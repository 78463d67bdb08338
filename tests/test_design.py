"""What a design will tell, simulated by the code that reports use."""

import json
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from usfm_bench.cli import app as cli
from usfm_bench.core.errors import BenchError
from usfm_bench.reporting.coverage import FEW_MISSED, expected_coverage
from usfm_bench.reporting.design import warnings_of
from usfm_bench.reporting.figures.coverage import coverage_figure
from usfm_bench.stats.design import Assumptions, Design, Expected, simulate
from usfm_bench.stats.design.grid import designs, load_grid, nearest_cell
from usfm_bench.stats.design.model import draw_study, true_values

AVERAGED = ("SEN", "SPEC", "F1", "macro F1")  # what reports call so is an average over classes


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["usfm-bench", "design", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def test_true_values_are_those_of_very_many_cases_and_trainings():
    rng, assumed, design = np.random.default_rng(0), Assumptions(), Design(5000, 50, 5000, 1500)
    truths = true_values(design, assumed)
    study = draw_study(design, assumed, rng)
    called, labels = study.probabilities[0, :, :, 1] > 0.5, study.labels == 1
    assert called[:, labels].mean() == pytest.approx(truths["SEN"], abs=0.03)
    assert 1 - called[:, ~labels].mean() == pytest.approx(truths["SPEC"], abs=0.02)
    assert (called == labels).mean() == pytest.approx(truths["ACC"], abs=0.02)
    assert study.dsc[0].mean() == pytest.approx(truths["DSC"], abs=0.01)
    assert study.dsc[0].std() == pytest.approx(assumed.dsc_spread, abs=0.01)
    assert study.distances[0].mean() == pytest.approx(truths["HD95"], rel=0.12)
    hits, false = called[:, labels].sum(axis=1), called[:, ~labels].sum(axis=1)
    y = study.labels
    for name, tolerance, measure in (
        ("PREC", 0.03, lambda p: sk.precision_score(y, p.argmax(1))),
        ("MCC", 0.03, lambda p: sk.matthews_corrcoef(y, p.argmax(1))),
        ("KAPPA", 0.03, lambda p: sk.cohen_kappa_score(y, p.argmax(1))),
        ("AUPRC", 0.03, lambda p: sk.average_precision_score(y, p[:, 1])),
        ("BRIER", 0.02, lambda p: 2 * sk.brier_score_loss(y, p[:, 1])),
    ):
        measured = np.mean([measure(p) for p in study.probabilities[0, ::5]])
        assert measured == pytest.approx(truths[name], abs=tolerance), name
    f1 = 2 * hits / (hits + false + labels.sum())
    assert f1.mean() == pytest.approx(truths["F1"], abs=0.03)
    score = study.probabilities[0, 0, :, 1]
    pairs = (score[labels][:, None] > score[~labels][None]).mean()
    assert pairs == pytest.approx(truths["AUROC"], abs=0.03)


def test_an_easy_design_is_covered_and_the_width_falls_with_the_cases():
    rows = {}
    for cases in (60, 240):
        found = simulate(Design(cases, 3, cases), Assumptions(missed=0.0), 150, np.random.default_rng(1))
        rows[cases] = {row.metric: row for row in found}
    assert set(rows[60]) == {"DSC", "HD95"}
    for of in rows.values():
        assert 0.9 <= of["DSC"].coverage <= 1
        assert of["DSC"].without_interval == 0
    assert rows[240]["DSC"].width == pytest.approx(rows[60]["DSC"].width / 2, rel=0.4)  # seeds have a share
    assert rows[240]["DSC"].detectable < rows[60]["DSC"].detectable


def test_groups_that_are_alike_widen_intervals():
    alone, together = (
        simulate(Design(90, 3, n), Assumptions(alike=0.8), 40, np.random.default_rng(2))[0].width for n in (90, 18)
    )
    assert together > 1.3 * alone


def test_one_command_says_it_all(command):
    line = ["--cases", 60, "--positives", 9, "--seeds", 3, "--groups", 30, "--draws", 20, "--format", "json"]
    code, out, err = command(*line)
    content = json.loads(out)
    assert code == 0, err
    assert content["design"] == {"cases": 60, "seeds": 3, "groups": 30, "positives": 9}
    metrics = {row["metric"]: row for row in content["metrics"]}
    rates = {"SEN", "SPEC", "ACC", "BACC", "AUROC", "F1", "macro F1", "PREC", "MCC", "KAPPA", "AUPRC", "BRIER", "ECE"}
    assert rates | {"DSC", "HD95"} == set(metrics)
    assert all(row["width"] > 0 for row in metrics.values())
    assert json.loads(command(*line)[1]) == content
    _, text, _ = command("--cases", 60, "--positives", 9, "--draws", 20)
    assert "60 test cases, 9 of them positive, in 60 groups, by 3 trainings." in text
    assert "Detectable: the smallest true difference" in text
    _, page, _ = command("--cases", 60, "--draws", 20, "--format", "markdown")
    assert page.startswith("# 60 test cases, in 60 groups")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--positives", 0], "no interval, since there is no positive case"),
        (["--positives", 40], "no interval, since there is no negative case"),
        (["--positives", 1], "one class has one case"),
        (["--seeds", 1], "One seed: the interval is of that one network"),
        (["--groups", 1], "no interval, since all cases are one group"),
    ],
)
def test_what_a_design_cannot_tell_is_said(command, arguments, words):
    code, out, _ = command("--cases", 40, "--draws", 20, *arguments)
    assert code == 0
    assert words in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--cases", 10, "--positives", 11, "--groups", 12, "--seeds", 0],
            ["--positives is 11", "--groups is 12", "--seeds is 0"],
        ),
        (["--cases", 0], ["--cases is 0; expected 1 to 5000 test cases."]),
        (["--cases", 10, "--sensitivity", 1.2, "--alike", -1], ["--sensitivity is 1.2", "--alike is -1"]),
        (["--cases", 10, "--dsc-spread", 0.6], ["--dsc-spread is 0.6; with a mean of 0.8 it is below 0.400."]),
        (["--cases", 10, "--draws", 3], ["--draws is 3; expected 20 to 100000."]),
        (["--cases", 10, "--picture", "x.pdf"], ["expected a name that ends in .png or .svg"]),
    ],
)
def test_impossible_designs_are_refused_all_faults_at_once(command, arguments, words):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert all(word in " ".join(err.split()) for word in words)


def test_the_grid_that_comes_along_is_whole_and_marks_the_nearest_design(command, tmp_path):
    cells = load_grid()
    places = {(d.seeds, d.cases, size, prevalence) for size, prevalence, d in designs()}
    for metric in {cell.metric for cell in cells}:
        assert {cell[1:5] for cell in cells if cell.metric == metric} == places
    assert nearest_cell(Design(120, 3, 60, 14)) == (3, 160, 2, 0.1)
    figure = coverage_figure(cells, Design(120, 3, 60, 14))
    assert [axes.get_title() for axes in figure.axes] == list(dict.fromkeys(cell.metric for cell in cells))
    code, _, err = command("--cases", 40, "--draws", 20, "--picture", tmp_path / "grid.png")
    assert code == 0, err
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("cell", [c for c in load_grid() if c.coverage is not None and c.coverage < 0.93], ids=str)
def test_every_design_of_the_table_that_covers_less_than_93_percent_is_warned_of_with_its_number(cell):
    design = Design(cell.cases, cell.seeds, cell.cases // cell.cases_a_group, round(cell.cases * cell.prevalence))
    error = (cell.coverage * (1 - cell.coverage) / cell.draws) ** 0.5
    row = Expected(cell.metric, "fraction", 0.8, 0.2, cell.coverage, error, 0.0, None)
    assert (
        f"{cell.metric}: the interval holds the truth in {100 * cell.coverage:.3g} %" in warnings_of(design, [row])[-1]
    )


def test_reports_know_each_design_of_the_table_that_covers_less_than_93_percent():
    """Scores of masks are judged over all prevalences, which say nothing of them; HD95 has a line of its own."""
    low, pooled = 0, {}
    for cell in load_grid():
        if cell.seeds == 1 or cell.coverage is None or cell.metric == "HD95":
            continue
        if cell.metric == "DSC":
            pooled.setdefault(cell[1:4], []).append(cell.coverage)
            continue
        known = expected_coverage(
            {"macro F1": "F1 macro"}.get(cell.metric, cell.metric),
            *cell[1:3],
            cell.cases // cell.cases_a_group,
            cell[4],
        )
        if cell.metric not in AVERAGED:
            assert known == pytest.approx(cell.coverage)
            low += cell.coverage < 0.93
    for (seeds, cases, size), values in pooled.items():
        assert expected_coverage("DSC", seeds, cases, cases // size, 0.5) == pytest.approx(np.mean(values))
    assert low == sum(
        c.coverage is not None and c.coverage < 0.93 and c.seeds > 1 and c.metric not in ("DSC", "HD95")
        for c in load_grid()
    )


@pytest.mark.parametrize("cell", [c for c in load_grid() if c.metric == "HD95" and c.seeds > 1 and c.coverage < 0.9])
def test_reports_warn_of_distances_in_nearly_every_study_of_a_design_whose_intervals_cover_less_than_90(cell):
    rng = np.random.default_rng(0)
    design = Design(cell.cases, cell.seeds, cell.cases // cell.cases_a_group)
    few = []
    for _ in range(8):
        study = draw_study(design, Assumptions(), rng)
        few.append(np.mean([len(np.unique(study.groups[d == 700])) for d in study.distances[0]]) < FEW_MISSED[-1][0])
    assert np.mean(few) >= 0.75


def test_one_seed_holds_the_mean_over_trainings_as_often_as_notes_say():
    alone = [c.coverage for c in load_grid() if c.seeds == 1 and c.coverage is not None and c.metric != "HD95"]
    assert int(100 * min(alone)) == 74


def test_a_design_without_sense_is_an_error_in_python_too():
    with pytest.raises(BenchError, match="--cases is 6000"):
        Design(6000, 3, 10)
