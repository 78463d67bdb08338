import io
import json
from dataclasses import replace
from functools import reduce

import pandas as pd
import pytest

from invented import invent_store
from usfm_bench.core.errors import BenchError
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.published import published_rows
from usfm_bench.reporting.report import thin
from usfm_bench.reporting.rows import Row, usual
from usfm_bench.reporting.sections.base import sections
from usfm_bench.reporting.writers.html.tables import table_of
from usfm_bench.specs.task import TASKS

MIXED = ("tiny-lesion", "tiny", "tiny-clinical")
KEYS = {
    *("table", "dataset", "model", "metric", "definition", "unit", "source", "mean", "ci_low", "ci_high", "interval"),
    *("sd_cases", "n_seeds", "n_cases", "n_groups", "n_missed", "n_false_alarms", "synthetic", "seen_in_pretraining"),
    "citation",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory, tiny_registry):
    return build_report(invent_store(tmp_path_factory.mktemp("store"), tiny_registry, datasets=MIXED), "demo")


def main_table(text: str, title: str) -> list[list[str]]:
    lines = text.split(f"**{title}")[1].split("\n")
    table = [line for line in lines[2:] if line.startswith("|")][: lines[2:].index("")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def test_markdown_is_as_it_was(report, golden):
    golden("report.md", render([report], "markdown"))


def shape_of(value):
    """Keys and types of JSON; of a list what all its items are together."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reduce(joined, map(shape_of, value))] if value else []
    return {type(None): "null", bool: "boolean", int: "number", float: "number", str: "text"}[type(value)]


def joined(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: joined(one.get(key, "absent"), other.get(key, "absent")) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [joined(one[0], other[0])] if one and other else one or other
    if isinstance(one, str) and isinstance(other, str):
        return " or ".join(sorted({*one.split(" or "), *other.split(" or ")}))
    return one if other in ("null", "absent") else other if one in ("null", "absent") else [one, other]


def values_of(content):
    """The numbers of a report that a reader looks at first."""
    rows = {(r["dataset"], r["model"], r["definition"]): r for r in content["rows"] if r["source"] == "measured"}
    dsc, hd95, f1 = (
        rows[place]
        for place in (
            ("tiny-lesion", "usfm-micro-scratch", "dsc.native@1"),
            ("tiny-lesion", "usfm-micro-scratch", "hd95.pooled.native.px@1"),
            ("tiny-clinical", "timm:resnet18@scratch", "f1.macro@1"),
        )
    )
    pair, spread, ranking = content["comparisons"][0], content["spreads"][0], content["rankings"][0]
    found = {f"{r['metric']} {key}": r[key] for r in (dsc, hd95, f1) for key in ("mean", "ci_low", "ci_high")}
    found |= {"p_holm": pair["p_holm"], "detectable": pair["detectable"], "sd_seeds": spread["sd_seeds"]}
    found |= {"mean_rank": ranking["models"][0]["mean_rank"], "standing": dsc["standing"]}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in found.items()}


def test_json_has_the_keys_types_and_values_that_it_had(report, golden):
    content = json.loads(render([report], "json"))
    kept = {"values": values_of(content), "shape": shape_of(content)}
    golden("report.json", json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def test_json_rows_have_the_contracted_keys(report):
    content = json.loads(render([report], "json"))
    assert (content["schema_version"], content["suite"], content["profile"]) == (1, "demo", "smoke")
    for row in content["rows"]:
        assert set(row) >= KEYS
        assert row["source"] in {"measured", "reported"}


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
def test_a_data_set_whose_split_leaks_is_marked_in_every_table(report, form):
    rows = tuple(replace(row, n_leaked=5) if row.dataset == "tiny-clinical" else row for row in report.rows)
    leaky = replace(report, rows=rows)
    if form == "html":
        tables = [table_of(s, "i", "", {}) for s in sections(leaky, ["all"]) if s.grid]
        cells = [cell.text for table in tables for line in table.lines for cell in line.cells]
    else:
        cells = [
            c.strip() for line in render([leaky], form, ["all"]).split("\n") for c in line.replace("&", "|").split("|")
        ]
    names = [cell for cell in cells if cell.startswith("tiny-clinical")]
    assert len(names) > 10
    assert [name for name in names if "(LEAKS)" not in name and ":" not in name] == []
    if form == "markdown":
        assert "5 of tiny-clinical's test cases have a twin in training or validation" in render([leaky], form, ["all"])
        assert "Rank on tiny-clinical (LEAKS)" in cells
    assert "LEAKS" not in render([report], "latex", ["all"])


def test_several_suites_are_a_json_list(report):
    assert [r["suite"] for r in json.loads(render([report, report], "json"))] == ["demo", "demo"]


def test_csv_holds_the_same_numbers_as_json(report):
    frame = pd.read_csv(io.StringIO(render([report], "csv")), dtype={"table": str})
    content = json.loads(render([report], "json"))
    rows = content["rows"] + content["class_rows"]
    assert len(frame) == len(rows)
    frame = frame.sort_values("label", na_position="first", kind="stable", key=lambda label: label.notna())
    assert frame["mean"].tolist() == pytest.approx([row["mean"] for row in rows], nan_ok=True)
    assert set(frame["suite"]) == {"demo"}


def test_rates_are_fractions_in_json_and_percent_in_markdown(report):
    [row] = [r for r in report.rows if (r.model, r.metric, r.source) == ("unet-resnet18-scratch", "DSC", "measured")]
    assert 0 < row.mean < 1
    assert f"{100 * row.mean:.1f} [" in render([report], "markdown")


def test_reported_rows_stand_above_and_keep_their_own_label(report):
    rows = main_table(render([report], "markdown"), "Table 1")
    assert rows[2][:3] == ["BUSI", "USFM (reported)", "84.3 ± 0.17"]
    assert rows[3][:4] == ["BUSI", "ours (reported)", "92", ""]
    assert rows[4][0] == "tiny-lesion (synthetic)"


def test_reported_values_are_the_papers():
    values = {(t, r.dataset, r.model, r.metric): r.mean for t in "12" for r in published_rows(t)}
    assert values["1", "BUSI", "USFM", "DSC"] == pytest.approx(0.843)
    assert values["1", "BUSI", "ours", "HD95"] == 18.05
    assert values["2", "Clinical", "ours", "F1"] == pytest.approx(0.480)
    assert len(values) == 5 * 4


def test_measured_rows_say_what_they_are(report):
    measured = [r for r in report.rows if r.source == "measured"]
    ids = {d.id for d in [*TASKS["segmentation"].primary(), *usual(TASKS["classification"])]}
    assert {r.definition for r in measured if r.label is None} == ids
    assert all(r.n_seeds == 3 and r.synthetic is True and r.seen_in_pretraining is False for r in measured)
    assert all(r.ci_low <= r.mean <= r.ci_high for r in measured if r.ci_low is not None)


def test_a_missed_lesion_is_counted_for_every_seed(report):
    rows = [r for r in report.rows if (r.metric, r.unit, r.source) == ("HD95", "px", "measured")]
    assert [r.n_missed for r in rows] == [3, 3, 3]
    assert [r.n_false_alarms for r in rows] == [None, None, None]


def test_false_alarms_on_normals_have_a_column_and_no_part_in_the_means(make_store):
    store = make_store(datasets=["phantom"], models=["unet-resnet18-scratch"], suite="busi-seg-all", seeds=1)
    report = build_report(store, "busi-seg-all")
    row = next(r for r in report.rows if r.metric == "DSC" and r.source == "measured")
    assert row.n_cases == 200
    cases = report.results[0].cases
    assert row.n_false_alarms == ((cases["target_px"] == 0) & (cases["pred_px"] > 0)).sum()
    header, *body = main_table(render([report], "markdown"), "Table 1")
    shown = dict(zip(header, body[-1], strict=True))
    assert [shown[name] for name in ("n", "Missed", "False alarms")] == ["200", "1", str(row.n_false_alarms)]


def test_one_seed_is_marked(make_store):
    report = build_report(make_store(seeds=1), "demo")
    assert {r.interval for r in report.rows if r.source == "measured" and r.interval} == {"cases"}
    assert "one seed" in render([report], "markdown")


def test_nothing_finished_is_an_error_that_names_what_is_there(make_store):
    store = make_store(seeds=1)
    with pytest.raises(BenchError, match=r"No finished trial of suite 'busi-seg'.*It has demo\."):
        build_report(store, "busi-seg")
    with pytest.raises(BenchError, match=r"Unknown suite 'demos'\. Did you mean 'demo'\?"):
        build_report(store, "demos")
    with pytest.raises(BenchError, match="no finished trial of profile 'paper'; it has smoke"):
        build_report(store, "demo", "paper")


def test_profiles_are_never_mixed(make_store):
    store = make_store(seeds=1)
    [(_, record), *_] = store.finished("demo")
    other = record.model_copy(update={"spec": record.spec.model_copy(update={"profile": "quick"})})
    target = store.folder(other.spec)
    target.mkdir(parents=True)
    (target / "record.json").write_text(other.model_dump_json())
    with pytest.raises(BenchError, match="several profiles, which no table mixes: quick, smoke"):
        build_report(store, "demo")


def test_trials_of_different_recipes_never_share_a_row(make_store):
    store = make_store(seeds=2, models=["usfm-micro-scratch"])
    [_, (folder, record)] = store.finished("demo")
    training = record.spec.training.model_copy(update={"lr": 0.5})
    changed = record.model_copy(update={"spec": record.spec.model_copy(update={"training": training})})
    (folder / "record.json").write_text(changed.model_dump_json())
    with pytest.raises(BenchError, match="differ in settings, data, weights"):
        build_report(store, "demo")


def test_trials_with_other_test_cases_never_share_a_row(make_store):
    store = make_store(seeds=2, models=["usfm-micro-scratch"])
    [_, (folder, record)] = store.finished("demo")
    (folder / "record.json").write_text(record.model_copy(update={"split_hash": "1" * 64}).model_dump_json())
    with pytest.raises(BenchError, match="differ in settings, data, weights or test cases"):
        build_report(store, "demo")


def test_few_patients_of_several_images_are_warned_of():
    def noted(n_groups, n_cases):
        row = Row(
            **{"table": None, "dataset": "d", "model": "m", "metric": "DSC", "source": "measured", "mean": 0.5},
            n_groups=n_groups,
            n_cases=n_cases,
        )
        return thin([row])

    assert noted(8, 60) == [
        "d: 8 groups (patients or near-duplicates) in 60 test cases: of so few, and of unequal size, 95 % intervals "
        "may cover as little as 86 %"
    ]
    assert noted(8, 8) == noted(40, 60) == noted(1, 6) == []


def test_few_missed_lesions_are_warned_of_unless_they_are_left_out(make_store):
    store = make_store(models=["usfm-micro-scratch"])
    [warned] = [note for note in build_report(store, "demo").notes if "so few image diagonals" in note]
    assert warned.startswith("tiny-lesion: a network of usfm-micro-scratch misses 1 lesion on average")
    assert "as little as 65 %, and comparisons" in warned
    assert not [note for note in build_report(store, "demo", missed="exclude").notes if "diagonals" in note]


def test_names_are_shown_as_text(make_store):
    store = make_store(seeds=1, models=["usfm-micro-scratch"])
    [(folder, record)] = store.finished("demo")
    dataset = record.spec.dataset.model_copy(update={"name": "<img src=x>|b"})
    changed = record.model_copy(update={"spec": record.spec.model_copy(update={"dataset": dataset})})
    (folder / "record.json").write_text(changed.model_dump_json())
    text = render([build_report(store, "demo")], "markdown")
    assert "<img" not in text
    assert "&lt;img src=x>\\|b" in text


def test_an_absent_figure_is_null():
    row = Row(table=None, dataset="d", model="m", metric="DSC", source="measured", mean=None)
    assert row.ci_low is None
    assert row.sd_cases is None


def test_models_without_a_finished_seed_are_named_and_the_others_shown(make_store):
    store = make_store()
    paths = sorted(store.root.rglob("*unet*/**/record.json"))
    for path in paths:
        content = json.loads(path.read_text())
        content["spec"]["split"] = {"kind": "kfold", "seed": 0, "folds": 5}
        path.write_text(json.dumps(content))
    shown = build_report(store, "demo")
    unfinished = "tiny-lesion, unet-resnet18-scratch: no seed has all 5 folds; run the suite again to finish it"
    assert shown.notes[0] == unfinished
    assert {r.first.spec.model for r in shown.results} == {"usfm-micro-scratch", "timm:resnet18@scratch"}
    for path in set(store.root.rglob("record.json")) - set(paths):
        path.unlink()
    with pytest.raises(BenchError, match="no seed has all 5 folds"):
        build_report(store, "demo")
