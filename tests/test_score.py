"""`usfm-bench score`, end to end, against what the kept predictions say when they are scored by hand."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from invented import invent_store
from usfm_bench.cli import app as cli
from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS, dice, find_definitions, hd95
from usfm_bench.reporting import build_report
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.results.store import Store

MICRO, UNET = "usfm-micro-scratch", "unet-resnet18-scratch"
OLD = ["DSC", "HD95", "ACC", "SEN", "SPEC", "PREC", "F1", "IOU", "HD95_mm"]
"""Columns of segmentation before HD, ASSD, NSD and LDR came."""


@pytest.fixture
def score(monkeypatch, capsys):
    """Runs `usfm-bench score` in this process; gives (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["usfm-bench", "score", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def rows(score):
    """The rows of JSON for some definitions; the command must succeed in silence."""

    def call(runs, *definitions):
        code, out, err = score(runs, *(f"--definition={d}" for d in definitions), "--format", "json")
        assert (code, err) == (0, "")
        return json.loads(out)["rows"]

    return call


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_registry):
    """Two models on lesions and one on classes, two seeds each; not to be changed."""
    folder = tmp_path_factory.mktemp("score")
    return invent_store(folder, tiny_registry, [MICRO, UNET], ["tiny-lesion", "tiny"], seeds=2).root


def kept(runs, dataset, model=MICRO):
    """Predictions of each seed."""
    return [load_predictions(path) for path in sorted(runs.glob(f"demo/{dataset}/{model}/*/*/seed-*/predictions.npz"))]


def by_case(runs, measure):
    """(seeds, cases) of a measure of two masks."""
    return np.array(
        [[measure(*pair) for pair in zip(s.predictions, s.references, strict=True)] for s in kept(runs, "tiny-lesion")]
    )


def by_seed(runs, measure):
    """The mean over seeds of a measure of probabilities and labels."""
    return pytest.approx(np.mean([measure(s.probabilities, s.labels) for s in kept(runs, "tiny")]))


def without_standing(row):
    """Among other models, which `score` does not compare."""
    return {key: value for key, value in asdict(row).items() if key != "standing"}


def table_of(markdown):
    lines = [line.strip("|").split(" | ") for line in markdown.splitlines() if line.startswith("|")]
    header, _, *body = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(header, line, strict=True)) for line in body]


def test_without_a_definition_the_rows_are_those_of_the_report(rows, runs):
    reported = {
        r.definition: without_standing(r)
        for r in build_report(Store(runs), "demo").rows
        if r.model == MICRO and not r.label
    }
    found = [row for row in rows(runs) if row["model"] == MICRO]
    assert {
        row["definition"]: {k: row[k] for k in row.keys() - {"suite", "profile", "standing"}} for row in found
    } == reported
    assert {(row["suite"], row["profile"]) for row in found} == {("demo", "smoke")}


def test_dice_is_the_mean_over_seeds_and_lesions_of_the_kept_masks(rows, runs):
    scores = by_case(runs, dice)
    [row] = rows(runs / "demo" / "tiny-lesion" / MICRO, "dsc.native@1")
    assert row["mean"] == pytest.approx(scores.mean())
    assert row["sd_cases"] == pytest.approx(scores.mean(axis=0).std(ddof=1))
    assert (row["n_seeds"], row["n_cases"], row["n_missed"], row["unit"]) == (*scores.shape, 2, "fraction")


def test_a_definition_that_is_not_stored_is_computed_from_the_kept_masks(rows, runs):
    row, *_ = (r for r in rows(runs, "hd95.max_directed.native.px") if r["model"] == MICRO)
    assert row["definition"] == "hd95.max_directed.native.px@1"
    assert row["mean"] == pytest.approx(by_case(runs, lambda p, t: hd95(p, t, rule="max_directed")).mean())


def test_a_family_takes_any_tolerance(rows, runs):
    found = rows(runs / "demo" / "tiny-lesion" / MICRO, "nsd.0px.native", "nsd.2px.native", "nsd.99px.native")
    assert [row["definition"] for row in found] == ["nsd.0px.native@1", "nsd.2px.native@1", "nsd.99px.native@1"]
    means = [row["mean"] for row in found]
    assert means == sorted(means)
    assert means[-1] == pytest.approx(23 / 24)  # all but the missed lesion


def test_missed_lesions_left_out_are_missing_from_n_and_from_the_mean(rows, runs):
    folder = runs / "demo" / "tiny-lesion" / MICRO
    diagonal, exclude = rows(folder, "hd95.pooled.native.px", "hd95.pooled.native.px.exclude")
    missed = sum(not mask.any() for mask in kept(runs, "tiny-lesion")[0].predictions)
    assert exclude["n_cases"] == diagonal["n_cases"] - missed == 24 - 1
    assert diagonal["n_missed"] == exclude["n_missed"] == 2  # one in each of two seeds
    assert diagonal["mean"] == pytest.approx(by_case(runs, hd95).mean())
    assert exclude["mean"] == pytest.approx(np.nanmean(by_case(runs, lambda p, t: hd95(p, t, missed="exclude"))))


def test_an_emulator_stands_for_all_of_its_metrics(rows, runs):
    found = [row for row in rows(runs, "usfm-repo") if row["model"] == MICRO]
    ids = {d.id for d in DEFINITIONS.values() if d.emulates == "usfm-repo"}
    assert {row["definition"] for row in found} == ids
    assert {row["emulates"] for row in found} == {"usfm-repo"}
    assert {row["emulates"] for row in rows(runs, "dsc.native", "acc")} == {None}


def test_an_emulated_dice_is_on_the_networks_grid(rows, runs):
    [row] = rows(runs / "demo" / "tiny-lesion" / MICRO, "usfm-repo/dsc")
    [seed, _] = kept(runs, "tiny-lesion")
    assert not any(mask.any() for mask in seed.grid_predictions)
    sizes = [
        cv2.resize(mask.astype(np.uint8), (8, 8), interpolation=cv2.INTER_NEAREST).sum() for mask in seed.references
    ]
    assert row["mean"] == pytest.approx(np.mean([(0 + 1e-5) / (n + 1e-5) for n in sizes]))


def test_an_emulated_accuracy_is_the_balanced_one(rows, runs):
    [row] = rows(runs / "demo" / "tiny", "usfm-repo/cls.acc")
    assert row["metric"] == "ACC"
    assert row["mean"] == by_seed(runs, lambda p, y: sk.balanced_accuracy_score(y, p.argmax(axis=1)))


@pytest.mark.parametrize(
    ("ident", "measure"),
    [
        ("acc", lambda p, y: sk.accuracy_score(y, p.argmax(axis=1))),
        ("mcc", lambda p, y: sk.matthews_corrcoef(y, p.argmax(axis=1))),
        ("kappa", lambda p, y: sk.cohen_kappa_score(y, p.argmax(axis=1))),
        ("brier", lambda p, y: ((p - np.eye(3)[y]) ** 2).sum(axis=1).mean()),
        ("f1.weighted", lambda p, y: sk.f1_score(y, p.argmax(axis=1), average="weighted")),
        ("auprc.ovr.macro", lambda p, y: sk.average_precision_score(np.eye(3)[y], p, average="macro")),
        ("auroc.ovr.weighted", lambda p, y: sk.roc_auc_score(y, p, multi_class="ovr", average="weighted")),
    ],
)
def test_a_classification_metric_is_the_mean_over_seeds_of_the_kept_probabilities(rows, runs, ident, measure):
    [row] = rows(runs / "demo" / "tiny", ident)
    assert row["mean"] == by_seed(runs, measure)
    assert (row["definition"], row["label"], row["n_cases"]) == (find_definitions([ident])[0].id, None, 36)
    assert row["ci_low"] < row["mean"] < row["ci_high"]


def test_a_definition_of_each_class_gives_one_row_a_class(rows, runs):
    classes = kept(runs, "tiny")[0].classes
    found = rows(runs / "demo" / "tiny", "sen.class")
    assert [row["label"] for row in found] == list(classes)
    for k, row in enumerate(found):
        assert row["mean"] == by_seed(runs, lambda p, y, k=k: (p.argmax(axis=1) == k)[y == k].mean())
        assert row["n_cases"] == 12


def test_a_binary_definition_is_of_the_class_that_it_names(rows, runs):
    of_classes = {row["label"]: row for row in rows(runs / "demo" / "tiny", "sen.class")}
    [row] = rows(runs / "demo" / "tiny", "sen.binary[malignant]")
    assert (row["definition"], row["label"]) == ("sen.binary[malignant]@1", "malignant")
    figures = ("mean", "ci_low", "ci_high", "n_cases", "n_groups")
    assert [row[k] for k in figures] == [of_classes["malignant"][k] for k in figures]


def test_an_absent_class_has_no_row_and_no_value(score, rows, make_store):
    [path] = make_store(models=[MICRO], datasets=["tiny"], seeds=1).root.rglob("predictions.npz")
    seed = load_predictions(path)
    absent = seed.classes.index("malignant")
    save_predictions(path, replace(seed, labels=np.where(seed.labels == absent, 0, seed.labels)))
    assert [row["label"] for row in rows(path.parent, "auroc.class")] == [c for c in seed.classes if c != "malignant"]
    [row] = rows(path.parent, "auroc.binary[malignant]")
    assert (row["mean"], row["ci_low"], row["n_cases"]) == (None, None, 0)
    [line] = table_of(score(path.parent, "--definition", "auroc.binary[malignant]")[1])
    assert (line["Value"], line["n"]) == ("n/a", "0")


def test_formats_hold_the_same_rows(score, runs):
    chosen = [runs, "--definition", "usfm-repo", "--definition", "sen.class", "--definition", "hd95.pooled.native.px"]
    (_, as_json, _), (_, as_csv, _), (_, markdown, _) = (
        score(*chosen, "--format", form) for form in ("json", "csv", "markdown")
    )
    content, frame, table = json.loads(as_json), pd.read_csv(io.StringIO(as_csv)), table_of(markdown)
    assert content["schema_version"] == 1
    expected = content["rows"]
    assert len(expected) == len(frame) == len(table) == (1 + 3) + 2 * (6 + 1)
    assert list(frame.columns) == list(expected[0])
    assert frame["mean"].tolist() == pytest.approx([row["mean"] for row in expected])
    assert [line["Definition"] for line in table] == [row["definition"] for row in expected]
    assert [line["Class"] for line in table] == [row["label"] or "" for row in expected]
    for line, row in zip(table, expected, strict=True):
        figure = f"{100 * row['mean']:.1f}" if line["Unit"] == "%" else f"{row['mean']:.{1 if line['Unit'] else 2}f}"
        assert line["Value"].startswith(f"{figure} [")
        assert (line["Seeds"], line["n"]) == (str(row["n_seeds"]), str(row["n_cases"]))


def test_out_writes_a_file_and_nothing_on_the_screen(score, runs, tmp_path):
    chosen = [runs / "demo" / "tiny", "--definition", "mcc"]
    _, shown, _ = score(*chosen, "--format", "json")
    code, out, err = score(*chosen, "--format", "json", "--out", tmp_path / "deep" / "mcc.json")
    assert (code, out, err) == (0, "", f"Wrote {tmp_path / 'deep' / 'mcc.json'}\n")
    assert (tmp_path / "deep" / "mcc.json").read_text() == shown


@pytest.mark.parametrize(
    ("folder", "models", "seeds"),
    [
        (".", {MICRO, UNET}, 2),
        ("demo", {MICRO, UNET}, 2),
        ("demo/tiny-lesion", {MICRO, UNET}, 2),
        (f"demo/tiny-lesion/{UNET}", {UNET}, 2),
        (f"demo/tiny-lesion/{UNET}/smoke/fold-0/seed-1", {UNET}, 1),
    ],
)
def test_runs_may_be_any_folder_down_to_a_single_trial(rows, runs, monkeypatch, folder, models, seeds):
    found = rows(runs / folder, "dsc.native")
    assert {row["model"] for row in found} == models
    assert {row["n_seeds"] for row in found} == {seeds}
    assert {row["interval"] for row in found} == {"seeds+cases" if seeds > 1 else "cases"}
    monkeypatch.chdir(runs / folder)
    assert rows(".", "dsc.native") == found


def test_trials_that_were_set_aside_are_not_scored(rows, make_store):
    runs = make_store(models=[MICRO], seeds=2).root
    [_, second] = sorted(runs.rglob("seed-*"))
    second.rename(second.with_name("seed-1.stale-0123abcd"))
    assert [row["n_seeds"] for row in rows(runs, "dsc.native")] == [1]


@pytest.mark.parametrize(
    ("folder", "definition", "task"),
    [("tiny", "dsc.native", "classification"), ("tiny-lesion", "mcc", "segmentation")],
)
def test_definitions_of_the_other_task_alone_are_an_error_that_names_the_task(score, runs, folder, definition, task):
    code, out, err = score(runs / "demo" / folder, "--definition", definition)
    assert (code, out) == (2, "")
    assert f"None of the definitions is of {task}" in err


def test_of_definitions_of_both_tasks_each_trial_gets_its_own(rows, runs):
    found = rows(runs, "dsc.native", "mcc")
    assert [(row["dataset"], row["metric"]) for row in found] == [
        ("tiny", "MCC"),
        ("tiny-lesion", "DSC"),
        ("tiny-lesion", "DSC"),
    ]


def test_unknown_definitions_are_refused_together_with_the_nearest_ones(score, runs):
    code, out, err = score(runs, "--definition", "hd95.poled.native.px", "--definition", "usfm-rep")
    assert (code, out) == (2, "")
    assert "Unknown definition 'hd95.poled.native.px'. Did you mean 'hd95.pooled.native.px@1'?" in err
    assert "Unknown definition 'usfm-rep'. Did you mean 'usfm-repo'?" in err


def test_an_unknown_class_is_refused_with_the_nearest_one(score, runs):
    code, out, err = score(runs, "--definition", "sen.binary[malignat]")
    assert (code, out) == (2, "")
    assert "Unknown class 'malignat'. Did you mean 'malignant'?" in err


def test_what_holds_no_trial_is_refused(score, tmp_path, runs):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for arguments, message in [
        ([], "RUNS is missing"),
        ([tmp_path / "nowhere"], f"'{tmp_path / 'nowhere'}' is not a folder"),
        ([tmp_path / "file"], f"'{tmp_path / 'file'}' is not a folder"),
        ([tmp_path / "empty"], f"No finished trial (record.json) in '{tmp_path / 'empty'}'"),
    ]:
        code, out, err = score(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err


@pytest.mark.parametrize("update", [(), ("--update",)])
def test_trials_without_predictions_are_named_and_the_others_scored(score, make_store, update):
    runs = make_store(models=[MICRO], seeds=2).root
    [first, second] = sorted(runs.rglob("predictions.npz"))
    second.unlink()
    code, out, err = score(runs, *update, "--format", "json")
    assert code == 1
    assert f"skipped, has no predictions.npz: {second.parent}" in err
    if not update:
        assert {row["n_seeds"] for row in json.loads(out)["rows"]} == {1}
    first.unlink()
    code, out, err = score(runs, *update)
    assert (code, out) == (2, "")
    assert "None of the 2 trials keeps its predictions.npz" in err


def test_damaged_predictions_are_an_error_that_names_the_file(score, make_store):
    [path] = make_store(models=[MICRO], seeds=1).root.rglob("predictions.npz")
    path.write_bytes(path.read_bytes()[:100])
    code, out, err = score(path.parent, "--definition", "dsc.native")
    assert (code, out) == (2, "")
    assert f"{path}: missing or damaged" in err


def edit_cases(folder, change):
    cases = pd.read_parquet(folder / "cases.parquet")
    change(cases).to_parquet(folder / "cases.parquet", index=False)


def with_value(column, case, value):
    def change(cases):
        cases.loc[case, column] = value
        return cases

    return change


@pytest.mark.parametrize(
    ("dataset", "column", "value"),
    [
        ("tiny-lesion", "DSC", 0.123),
        ("tiny-lesion", "HD95_mm", np.nan),
        ("tiny-lesion", "pred_px", 7),
        ("tiny-lesion", "missed", True),
        ("tiny", "p_benign", 0.5),
        ("tiny", "predicted", 9),
    ],
)
def test_a_stored_value_that_the_predictions_do_not_give_is_told(score, make_store, dataset, column, value):
    runs = make_store(models=[MICRO], datasets=[dataset], seeds=1).root
    [folder] = runs.rglob("seed-0")
    before = score(runs, "--format", "json")
    edit_cases(folder, with_value(column, 5, value))
    code, out, err = score(runs, "--format", "json")
    assert (code, err) == (1, f"differs from what is stored: {folder}: {column}\n")
    assert before == (0, out, "")


def test_what_is_asked_for_by_id_is_not_compared_with_what_is_stored(score, make_store):
    runs = make_store(models=[MICRO], seeds=1).root
    [folder] = runs.rglob("seed-0")
    edit_cases(folder, with_value("DSC", 5, 0.123))
    assert score(runs, "--definition", "dsc.native")[::2] == (0, "")


def test_the_last_bit_and_the_order_of_stored_cases_do_not_matter(score, make_store):
    runs = make_store(models=[MICRO], seeds=1).root
    [folder] = runs.rglob("seed-0")
    edit_cases(folder, lambda cases: cases.assign(DSC=np.nextafter(cases["DSC"], 0)).iloc[::-1])
    assert score(runs)[::2] == (0, "")


def make_old(folder):
    """A trial as an earlier version left it, without some of today's metrics."""
    path = folder / "record.json"
    record = json.loads(path.read_text())
    new = record["definitions"].keys() - set(OLD)
    for part in ("definitions", "scores"):
        record[part] = {key: value for key, value in record[part].items() if key not in new}
    path.write_text(json.dumps(record))
    edit_cases(folder, lambda cases: cases.drop(columns=list(new)))


def test_the_report_of_an_older_store_shows_what_its_records_have(make_store):
    store = make_store(models=[MICRO], seeds=2)
    new = build_report(store, "demo")
    for folder, _ in list(store.finished("demo")):
        make_old(folder)
    old = build_report(store, "demo")
    assert old.rows == tuple(r for r in new.rows if r.metric in OLD)
    assert {row.metric for row in new.rows} - {row.metric for row in old.rows} == {"HD", "ASSD", "NSD", "LDR"}


def test_an_old_store_is_scored_by_todays_definitions_without_an_update(score, rows, make_store):
    store = make_store(models=[MICRO], seeds=2)
    new = rows(store.root)
    for folder, _ in list(store.finished("demo")):
        make_old(folder)
    assert rows(store.root) == new
    assert rows(store.root, "ldr.iou50.native")[0]["n_cases"] == 24


def test_an_old_seed_beside_a_new_one_is_an_error_until_update_mends_it(score, make_store):
    store = make_store(models=[MICRO, UNET], seeds=2)
    new = build_report(store, "demo")
    [(folder, record), *others] = list(store.finished("demo"))
    record = record.model_copy(update={"environment": {"device": "cpu"}})
    (folder / "record.json").write_text(record.model_dump_json())
    untouched = {path: (path / "record.json").read_bytes() for path, _ in others}
    make_old(folder)
    with pytest.raises(BenchError, match=r"different definitions of ASSD, .*score RUNS --update"):
        build_report(store, "demo")
    assert score(store.root, "--update") == (0, "", "Updated 1 of 4 trials; 3 had today's definitions.\n")
    assert build_report(store, "demo").rows == new.rows
    assert {path: (path / "record.json").read_bytes() for path, _ in others} == untouched

    mended = store.record(record.spec)
    assert set(mended.environment.pop("rescored")) == {"code", "finished"}
    assert mended == record
    before = (folder / "record.json").read_bytes()
    assert score(store.root, "--update") == (0, "", "Updated 0 of 4 trials; 4 had today's definitions.\n")
    assert (folder / "record.json").read_bytes() == before


def test_update_mends_cases_that_lack_a_column_of_their_record(score, make_store):
    store = make_store(models=[MICRO], seeds=1)
    [(folder, _)] = list(store.finished("demo"))
    new = build_report(store, "demo")
    edit_cases(folder, lambda cases: cases.drop(columns="LDR"))
    with pytest.raises(BenchError, match=f"has no column LDR.*score {folder} --update"):
        build_report(store, "demo")
    assert score(folder, "--update")[0] == 0
    assert build_report(store, "demo").rows == new.rows


def test_update_brings_an_old_classification_to_todays_definitions(score, make_store):
    store = make_store(models=[MICRO], datasets=["tiny"], seeds=1)
    [(folder, record)] = list(store.finished("demo"))
    old = record.model_copy(update={"definitions": {"ACC": "acc@1"}, "scores": {"ACC": 0.5}})
    (folder / "record.json").write_text(old.model_dump_json())
    assert score(store.root, "--update")[0] == 0
    mended = store.record(record.spec)
    assert (mended.definitions, mended.scores) == (record.definitions, record.scores)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_cases_go_to_a_file_with_a_row_for_each_trial_and_case(score, runs, tmp_path, ending):
    path = tmp_path / "deep" / f"cases.{ending}"
    code, _, err = score(runs, "--definition", "hd95.max_directed.native.px", "--definition", "mcc", "--cases", path)
    assert (code, err) == (0, f"Wrote {path}\n")
    frame = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
    trial = ["suite", "profile", "dataset", "model", "seed", "fold"]
    assert list(frame.columns[:6]) == trial[:4] + trial[4:]
    assert not frame.duplicated([*trial, "case_id"]).any()
    assert frame.groupby(trial).size().to_dict() == {
        ("demo", "smoke", dataset, model, seed, 0): n
        for dataset, model, n in [("tiny", MICRO, 36), ("tiny-lesion", MICRO, 24), ("tiny-lesion", UNET, 24)]
        for seed in (0, 1)
    }
    values = frame[(frame["dataset"] == "tiny-lesion") & (frame["model"] == MICRO)]["hd95.max_directed.native.px@1"]
    assert values.tolist() == pytest.approx(by_case(runs, lambda p, t: hd95(p, t, rule="max_directed")).ravel())


@pytest.mark.parametrize("name", ["cases.xlsx", "cases", "csv"])
def test_cases_in_another_format_are_refused_before_anything_is_read(score, tmp_path, name):
    code, out, err = score(tmp_path / "nowhere", "--cases", tmp_path / name)
    assert (code, out) == (2, "")
    assert f"--cases {tmp_path / name}: expected a name that ends in .csv or .parquet" in err
    assert list(tmp_path.iterdir()) == []


def test_list_shows_every_definition_and_needs_no_runs(score):
    code, out, _ = score("--list")
    assert code == 0
    listed, families = out.split("\n\n")
    assert [line.split()[0] for line in listed.splitlines()] == list(DEFINITIONS)
    assert all(name in families for name in ("nsd.<t>mm.native", "binary[<class>]", "tinyusfm-repo"))


def test_nothing_is_written_into_the_trials_without_update(score, runs, tmp_path):
    folder = runs / "demo" / "tiny-lesion" / MICRO
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    score(folder, "--cases", tmp_path / "cases.csv")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_runs_that_were_copied_elsewhere_are_scored_without_torch(runs, tmp_path):
    shutil.copytree(runs / "demo", tmp_path / "copied")
    code = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'timm', 'torchvision', 'kornia', 'lightning_fabric'):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["usfm-bench", "score", {str(tmp_path / "copied")!r}, "--format", "json"]
from usfm_bench.cli import app
app.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert {row["dataset"] for row in json.loads(done.stdout)["rows"]} == {"tiny", "tiny-lesion"}


def test_a_report_may_leave_missed_lesions_out_of_distances(runs):
    policies = ("diagonal", "exclude")
    diagonal, exclude = (
        {
            r.definition: r
            for r in build_report(Store(runs), "demo", missed=missed).rows
            if r.model == MICRO and not r.label
        }
        for missed in policies
    )
    distances = [f"{stem}.native.{unit}" for unit in ("px", "mm") for stem in ("hd95.pooled", "hd", "assd.pooled")]
    assert diagonal.keys() - exclude.keys() == {f"{distance}@1" for distance in distances}
    assert exclude.keys() - diagonal.keys() == {f"{distance}.exclude@1" for distance in distances}
    for distance in distances:
        with_missed, without = diagonal[f"{distance}@1"], exclude[f"{distance}.exclude@1"]
        assert (with_missed.n_cases, without.n_cases) == (24, 23)
        assert without.mean < with_missed.mean
        assert without.n_missed == with_missed.n_missed == 2
    for ident in diagonal.keys() & exclude.keys():
        assert diagonal[ident] == exclude[ident]


def test_a_report_and_the_command_agree_on_missed_lesions_left_out(rows, runs):
    report = build_report(Store(runs), "demo", missed="exclude")
    expected = [without_standing(r) for r in report.rows if r.definition == "hd95.pooled.native.px.exclude@1"]
    found = rows(runs, "hd95.pooled.native.px.exclude")
    assert [{k: row[k] for k in row.keys() - {"suite", "profile", "standing"}} for row in found] == expected


def test_the_same_trial_in_two_folders_is_an_error_that_names_both(make_store, tmp_path, score):
    make_store(models=["usfm-micro-scratch"], seeds=1)
    both = tmp_path / "both"
    for name in ("one", "two"):
        shutil.copytree(tmp_path / "runs", both / name)
    code, _, err = score(both, "--definition", "dsc.native")
    assert code == 2
    assert "The same trial lies in" in err
    assert "one" in err
    assert "two" in err


def test_a_damaged_trial_does_not_keep_others_from_their_update(make_store, tmp_path, score):
    store = make_store(models=["usfm-micro-scratch"], seeds=2)
    folders = [folder for folder, _ in store.finished("demo")]
    (folders[0] / "predictions.npz").write_bytes(b"damaged")
    code, _, err = score(tmp_path / "runs", "--update")
    assert code == 1
    assert "skipped" in err
    assert "1 had today's definitions" in err
