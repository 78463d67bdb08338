"""Published rows in a report: whether they can be right, and how far measured values are from them. LaTeX."""

import json
import re
import sys
from pathlib import Path

import pytest

from invented import invent_store
from usfm_bench.cli import app as cli
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.published import published_rows, verdicts
from usfm_bench.results.store import Store

UNET, MICRO = "unet-resnet18-scratch", "usfm-micro-scratch"


@pytest.fixture(scope="module")
def busi(tmp_path_factory, tiny_registry):
    """A report of data that stand for BUSI, as their registry entry says."""
    folder = tmp_path_factory.mktemp("published")
    invent_store(folder, tiny_registry, [UNET, MICRO], ["tiny-lesion"])
    invent_store(folder, tiny_registry, [MICRO], ["tiny"])
    for path in (folder / "runs").rglob("record.json"):
        record = json.loads(path.read_text())
        record["spec"]["dataset"]["paper_label"] = "BUSI"
        path.write_text(json.dumps(record))
    return build_report(Store(folder / "runs"), "demo")


def test_the_verdicts_of_the_papers_rows():
    found = {(v.claim.table, v.claim.dataset, v.claim.model): v.verdict for v in verdicts()}
    assert found == {
        ("1", "BUSI", "USFM"): "possible",
        ("1", "BUSI", "ours"): "impossible",
        ("2", "BUSI", "USFM"): "possible",
        ("2", "BUSI", "ours"): "impossible",
        ("2", "Clinical", "ours"): "possible",
    }
    assert {r.arithmetic for r in published_rows("1") if r.model == "ours"} == {"impossible"}


def test_a_difference_takes_the_published_value_as_fixed(busi):
    [found] = [a for a in busi.against if (a.model, a.published_model, a.metric) == (UNET, "USFM", "DSC")]
    [row] = [r for r in busi.rows if (r.model, r.definition) == (UNET, "dsc.native@1")]
    assert found.difference == pytest.approx(row.mean - 0.843)
    assert (found.ci_low, found.ci_high) == pytest.approx((row.ci_low - 0.843, row.ci_high - 0.843))
    assert found.published == "84.3"


def test_what_is_not_comparable_has_a_reason_and_no_difference(busi):
    reasons = {(a.table, a.published_model, a.metric): a.not_comparable for a in busi.against if a.difference is None}
    assert "no Hausdorff distance" in reasons["1", "USFM", "HD95"]
    assert "cannot all have been computed in one way" in reasons["1", "ours", "DSC"]
    assert "balanced accuracy" in reasons["2", "USFM", "ACC"]
    assert all(reasons.values())
    assert {a.metric for a in busi.against if a.difference is not None and a.table == "2"} == {"SEN", "PREC", "F1"}


def test_other_data_stand_beside_no_published_row(make_store):
    report = build_report(make_store(), "demo")
    assert report.against == ()
    assert "Against the published values" not in render([report], "markdown", ["all"])


def test_markdown_shows_verdicts_proofs_and_differences(busi):
    text = render([busi], "markdown", ["all"])
    assert re.search(r"\| ours \(reported\) .*\| impossible \|", text)
    assert "**Table 1. BUSI, ours (reported) is arithmetically impossible**. ACC is at least DSC / (2 - DSC)" in text
    assert "arithmetically impossible; `usfm-bench claims` has the proof." in render([busi], "markdown")
    assert "Against the published values, which are of other test images of the same data set" in text
    assert re.search(r"\| USFM +\| DSC +\| +84\.3 \|.*\| [-+]\d+\.\d \[[-+]\d+\.\d, [-+]\d+\.\d\] points", text)


def test_the_best_model_is_marked_and_who_is_not_told_apart_from_it(make_store):
    report = build_report(make_store(), "demo")
    standing = {r.model: r.standing for r in report.rows if r.definition == "dsc.native@1"}
    best = max((r for r in report.rows if r.definition == "dsc.native@1"), key=lambda r: r.mean)
    assert standing[best.model] == "best"
    for c in report.comparisons:
        if c.metric == "DSC" and c.a == best.model:
            assert (standing[c.b] == "tied") == (c.p_best > 0.05)
    assert {r.standing for r in report.rows if r.metric not in {"DSC", "HD95", "ACC", "F1"}} == {None}


def test_of_distances_the_smallest_is_the_best(make_store):
    report = build_report(make_store(), "demo")
    rows = [r for r in report.rows if r.definition == "hd95.pooled.native.px@1"]
    assert min(rows, key=lambda r: r.mean).standing == "best"


def test_one_model_is_not_the_best(make_store):
    report = build_report(make_store(models=[UNET]), "demo")
    assert {r.standing for r in report.rows} == {None}


def test_the_standard_deviation_over_cases_has_a_column(make_store):
    report = build_report(make_store(models=[UNET]), "demo")
    [row] = [r for r in report.rows if r.definition == "dsc.native@1"]
    header, _, *lines = [line.split("|") for line in render([report], "markdown").splitlines() if line.startswith("|")]
    column = [cell.strip() for cell in header].index("DSC sd")
    [shown] = [line[column].strip() for line in lines if UNET in line[2] and len(line) == len(header)]
    assert shown == f"{100 * row.sd_cases:.1f}"


def test_a_model_that_another_data_set_has_is_missed(tmp_path, tiny_registry):
    invent_store(tmp_path, tiny_registry, [MICRO, "timm:resnet18@scratch"], ["tiny"], seeds=1)
    invent_store(tmp_path, tiny_registry, [MICRO], ["tiny-clinical"], seeds=1)
    notes = build_report(Store(tmp_path / "runs"), "demo").notes
    assert "timm:resnet18@scratch: not on tiny-clinical, where no trial of it is finished" in notes


def test_latex_is_as_it_was(make_store, golden):
    golden("report.tex", render([build_report(make_store(models=[UNET, MICRO], seeds=2), "demo")], "latex"))


def test_latex_escapes_what_it_would_read(make_store):
    store = make_store(seeds=1, models=[MICRO])
    [path] = Path(store.root).rglob("record.json")
    record = json.loads(path.read_text())
    record["spec"]["dataset"]["name"] = r"a_b%c&d$e#f{g}\input{x}~^"
    path.write_text(json.dumps(record))
    text = render([build_report(store, "demo")], "latex", ["tables", "metrics"])
    assert r"a\_b\%c\&d\$e\#f\{g\}\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}" in text
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 2
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == 2


def test_records_of_another_schema_are_left_out_and_named(make_store, monkeypatch, capsys):
    store = make_store(seeds=2, models=[UNET, MICRO])
    paths = sorted(store.root.rglob("record.json"))
    paths[0].write_text(
        paths[0]
        .read_text()
        .replace('"schema_version":1', '"schema_version":99')
        .replace('"schema_version": 1', '"schema_version": 99')
    )
    monkeypatch.setattr(sys, "argv", ["usfm-bench", "report", "--suite", "demo", "--runs", str(store.root)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "schema\\_version is 99" in out or "schema_version is 99" in out
    assert UNET in out
    assert MICRO in out
