"""F1 against prevalence in a report: its rows, what they say of the paper's 48.0, tables, JSON and figures."""

import json
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from sklearn import metrics as sk

from invented import invent_store
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.families import families
from usfm_bench.reporting.figures.draw import draw_all
from usfm_bench.reporting.figures.prevalence import prevalence_figures
from usfm_bench.reporting.figures.style import style
from usfm_bench.reporting.prevalence import prevalence_of, published_f1
from usfm_bench.reporting.sections.prevalence import in_words, prevalence_sections
from usfm_bench.reporting.writers.html.tables import table_of

MICRO, TINY = "usfm-micro-scratch", "usfm-tiny-scratch"
PREVALENCES = (0.5, 0.2, 0.05)
NAMES = [f"two@malignant={100 * p:g}%" for p in PREVALENCES]
REGISTRY = """
two:
  extends: phantom-lesion
  tasks: [classification]
  positive: malignant
  options: {n: 36, size: 64}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prevalence")
    (folder / "registry.yaml").write_text(REGISTRY)
    return invent_store(folder, folder / "registry.yaml", [MICRO, TINY], [*NAMES, "two"])


@pytest.fixture(scope="module")
def report(store):
    return build_report(store, "demo")


@pytest.fixture(scope="module")
def alone(report):
    """The same report, with the data set as it is and none of its variants."""
    results = tuple(r for r in report.results if r.first.spec.dataset.name == "two")
    return replace(report, results=results, prevalence=prevalence_of(results))


def weighted_f1(results, prevalence, average="binary"):
    """Mean over seeds, by scikit-learn."""
    true = results.case_table["label"].to_numpy() == 1
    weights = np.where(true, prevalence / true.sum(), (1 - prevalence) / (~true).sum())
    said = results.probabilities.argmax(axis=2) == 1
    return np.mean([sk.f1_score(true, s, sample_weight=weights, average=average, zero_division=0) for s in said])


def of(report, dataset, model=MICRO):
    return next(r for r in report.results if (r.first.spec.dataset.name, r.first.spec.model) == (dataset, model))


def row_of(report, curve, prevalence, metric="F1", label="malignant", model=MICRO):
    [row] = [
        r
        for r in report.prevalence.rows
        if (r.curve, r.metric, r.label, r.model) == (curve, metric, label, model) and r.prevalence == prevalence
    ]
    return row


def test_a_variant_is_tested_at_the_prevalence_it_was_trained_at_and_the_first_one_at_all(report):
    for name, p in zip(NAMES, PREVALENCES, strict=True):
        trained, beside = row_of(report, "trained", p), row_of(report, "beside", p)
        assert trained.mean == pytest.approx(weighted_f1(of(report, name), p))
        assert (trained.trained_on, trained.trained_at, trained.dataset) == (name, p, "two")
        assert beside.mean == pytest.approx(weighted_f1(of(report, NAMES[0]), p))
        assert (beside.trained_on, beside.trained_at) == (NAMES[0], 0.5)
        macro = row_of(report, "trained", p, label=None)
        assert macro.mean == pytest.approx(weighted_f1(of(report, name), p, "macro"))
        assert macro.definition == "f1.macro[malignant].reweighted@1"
    assert {r.dataset for r in report.prevalence.rows} == {"two"}  # which has no curve of its own beside its variants
    assert {r.curve for r in report.prevalence.rows} == {"trained", "beside"}


def test_a_data_set_without_variants_has_its_own_prevalence_marked(alone):
    rows = [r for r in alone.prevalence.rows if (r.model, r.metric, r.label) == (MICRO, "F1", "malignant")]
    own = of(alone, "two").case_table["label"].mean()
    assert [r.prevalence for r in rows] == sorted({0.5, 0.3, 0.2, 0.1, 0.05, own}, reverse=True)
    [marked] = [r for r in rows if r.own]
    [usual] = [r for r in alone.rows if (r.dataset, r.model, r.label, r.metric) == ("two", MICRO, "malignant", "F1")]
    assert marked.mean == pytest.approx(usual.mean)
    assert alone.prevalence.answers == ()


def test_the_change_is_that_of_the_test_prevalence_and_that_of_training(report):
    [answer] = [a for a in report.prevalence.answers if (a.model, a.label) == (MICRO, "malignant")]
    top, moved, bottom = (
        row_of(report, *place).mean for place in (("trained", 0.5), ("beside", 0.05), ("trained", 0.05))
    )
    assert answer.change.point == pytest.approx(bottom - top)
    assert answer.by_test_prevalence.point == pytest.approx(moved - top)
    assert answer.by_training.point == pytest.approx(bottom - moved)
    assert all(i.low < i.point < i.high for i in (answer.change, answer.by_test_prevalence, answer.by_training))


@pytest.mark.parametrize(
    ("published", "reached", "below", "words"),
    [
        (0.0, None, None, "at no training prevalence is the mean at or below 0.0"),
        (1.0, 0.5, True, "50 % is the highest training prevalence with a mean at or below 100.0"),
        ("lowest", 0.05, False, "the interval there does not lie wholly below it"),
    ],
)
def test_where_f1_falls_to_the_published_one(report, monkeypatch, published, reached, below, words):
    lowest = row_of(report, "trained", 0.05).mean
    row = replace(published_f1(), mean=lowest if published == "lowest" else published)
    monkeypatch.setattr("usfm_bench.reporting.prevalence.published_f1", lambda: row)
    answers = prevalence_of(report.results).answers
    [answer] = [a for a in answers if (a.model, a.label) == (MICRO, "malignant")]
    assert (answer.reached_at, answer.wholly_below) == (reached, below)
    assert words in in_words(answer)


def test_the_published_f1_is_that_of_the_paper(report):
    assert published_f1().printed == "48.0"
    assert {a.published for a in report.prevalence.answers} == {0.48}
    assert {a.label for a in report.prevalence.answers} == {"malignant", None}  # its averaging is not stated


def test_what_cannot_be_compared_has_a_reason(report):
    one = [of(report, NAMES[1])]
    assert {a.reason for a in prevalence_of(one).answers} == {"one training prevalence alone"}
    other = of(report, NAMES[2])
    moved = replace(other, cases=other.cases.assign(case_id="x" + other.cases["case_id"]))
    found = prevalence_of([of(report, NAMES[0]), moved]).answers
    assert {a.reason for a in found} == {"other test cases"}
    assert "What it changes by is not known: other test cases." in in_words(found[0])


def test_variants_are_no_further_data_sets_of_a_ranking(report):
    # One data set is left, which is none to rank over: its variants have the same test cases.
    assert report.rankings == ()
    assert {c.dataset for c in report.comparisons} == {*NAMES, "two"}
    [note] = [note for note in report.notes if "no part in any ranking" in note]
    assert all(name in note for name in NAMES)


def test_tables_are_as_they_were(report, alone, golden):
    sections = [s for each in (report, alone) for s in prevalence_sections(each)]
    lines = [line for s in sections for line in (s.title, *map(" | ".join, [s.grid.header, *s.grid.body]), *s.notes)]
    golden("prevalence.txt", "\n".join([*lines, ""]))
    assert sections[0].grid.of[-1] == (NAMES[2], TINY)


def test_few_cases_of_a_class_are_warned_of(report):
    few = replace(report.prevalence, rows=tuple(replace(row, n_rarer=9) for row in report.prevalence.rows))
    [section] = prevalence_sections(replace(report, prevalence=few))
    assert [note for note in section.notes if note.startswith("9 groups of the rarer class")]
    assert {row.n_rarer for row in report.prevalence.rows} == {12}


def test_every_format_has_them(report):
    title = "F1 against prevalence of malignant, two (synthetic)"
    assert f"{title}: trained and tested at each prevalence" in render([report], "markdown", ["all"])
    latex = render([report], "latex", ["prevalence"])
    assert f"\\caption{{Table 2. {title}" in latex
    assert "is the highest training prevalence" in latex
    [section] = prevalence_sections(report)
    table = table_of(section, "i", section.title, {("two@malignant=5%", MICRO): "s0"})
    assert [line.link for line in table.lines if line.link] == ["s0"]
    assert "f1.macro[malignant].reweighted@1" in table.notes[0]
    content = json.loads(render([report], "json"))
    assert content["schema_version"] == 1
    assert len(content["prevalence"]["rows"]) == 2 * 2 * 3 * 6  # models, curves, prevalences, metrics
    assert content["prevalence"]["answers"][0]["change"].keys() == {"mean", "ci_low", "ci_high", "interval"}


def test_a_report_without_a_positive_class_says_nothing_of_prevalence(report):
    plain = replace(report, prevalence=prevalence_of([]))
    assert "prevalence" not in json.loads(render([plain], "json"))
    assert list(prevalence_sections(plain)) == []


def test_figures_show_the_rows(report, alone, store):
    assert next(draw_all(report, store)).name == "prevalence-two"
    one = replace(report, results=tuple(r for r in report.results if r.first.spec.model == MICRO))
    for each, n in ((report, 2), (one, 1), (alone, 2)):
        [named] = prevalence_figures(each, 180)
        with style():
            named.figure.draw_without_rendering()
        assert "3 seeds" in named.caption
        words = " ".join(text.get_text() for text in named.figure.findobj(mpl.text.Text))
        assert words.count("paper, clinical: F1 48.0 (averaging not stated)") == 2
        for axes, label in zip(named.figure.findobj(mpl.axes.Axes), ("malignant", None), strict=True):
            marks = [line for line in axes.lines if line.get_marker() not in ("None", "")]
            curve = "alone" if each is alone else "trained"
            prevalences = families(each.results)[0].prevalences
            assert len(marks) == n * len(prevalences)
            expected = [100 * row_of(each, curve, p, label=label).mean for p in prevalences]
            assert [mark.get_ydata()[0] for mark in marks[: len(prevalences)]] == pytest.approx(expected)
            assert any(line.get_linestyle() == "--" for line in axes.lines) == (each is not alone)
