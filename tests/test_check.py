"""`usfm-bench baseline` and `check`, end to end on invented trials, and how often the test errs."""

import json
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import brentq

import simulated_checks
from invented import invent_store
from usfm_bench.cli import app as cli
from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS
from usfm_bench.regression.baseline import Entry, load_baseline, metric_scores
from usfm_bench.regression.check import check as compare_with
from usfm_bench.regression.findings import diverged_seeds, measure_drop
from usfm_bench.regression.match import Matched
from usfm_bench.regression.scatter import Scatter, scatter_of
from usfm_bench.regression.scores import Scores
from usfm_bench.results.store import Store
from usfm_bench.stats import Contributions, class_contributions, variance_components
from usfm_bench.stats.compare import p_beyond
from usfm_bench.stats.jackknife import deleted

UNET, MICRO = "unet-resnet18-scratch", "usfm-micro-scratch"
LESION = f"tiny-lesion / {UNET}"


@pytest.fixture
def bench(monkeypatch, capsys):
    """Runs a command line in this process; gives (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["usfm-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def original(tmp_path_factory, tiny_registry):
    """Runs of one model on lesions and two on classes, and their baseline; not to be changed."""
    folder = tmp_path_factory.mktemp("check")
    invent_store(folder, tiny_registry, [UNET], ["tiny-lesion"])
    invent_store(folder, tiny_registry, [MICRO], ["tiny"])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "usfm_bench", "baseline", "--suite", "demo"),
            *("--runs", folder / "runs", "--out", folder / "baseline.json"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def runs(original, tmp_path):
    """A copy of the runs, to be changed."""
    shutil.copytree(original / "runs", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def check(bench, original, runs):
    def call(*arguments):
        return bench("check", "--baseline", original / "baseline.json", "--runs", runs, *arguments)

    return call


def trials(runs, dataset="tiny-lesion"):
    return sorted(path.parent for path in runs.glob(f"demo/{dataset}/*/smoke/fold-0/seed-*/record.json"))


def change_scores(runs, column, change):
    """Replace a column of every seed's cases by change(values, seed)."""
    for seed, folder in enumerate(trials(runs)):
        cases = pd.read_parquet(folder / "cases.parquet")
        cases[column] = change(cases[column].to_numpy(), seed)
        cases.to_parquet(folder / "cases.parquet", index=False)


def change_records(runs, change, dataset="tiny-lesion"):
    for folder in trials(runs, dataset):
        record = json.loads((folder / "record.json").read_text())
        change(record)
        (folder / "record.json").write_text(json.dumps(record))


def noise(scale, seed_scale=0.0, shift=0.0):
    def change(values, seed):
        rng = np.random.default_rng(seed)
        return values + shift + rng.normal(0, seed_scale) + rng.normal(0, scale, len(values))

    return change


def outcomes(text):
    """(model on data set, metric) -> outcome, from the text."""
    found = {}
    for line in text.splitlines()[1:]:
        for outcome in ("unchanged", "no regression", "cannot tell", "diverged", "regression"):
            if line.startswith(outcome + " "):
                where, metric = line[len(outcome) :].split(": ")[0].strip().split("  ")
                found[where, metric] = outcome
    return found


def test_the_same_runs_are_unchanged(check):
    code, out, err = check()
    assert (code, err) == (0, "")
    assert set(outcomes(out).values()) == {"unchanged"}
    assert {metric for _, metric in outcomes(out)} == {"DSC", "HD95", "ACC", "F1"}
    assert out.startswith("passed: suite demo, profile smoke; 4 metrics: 4 unchanged.")


def test_a_drop_is_a_regression_of_that_metric_alone(check, runs):
    change_scores(runs, "DSC", noise(0.02, shift=-0.2))
    code, out, _ = check()
    assert code == 1
    assert out.startswith("FAILED")
    assert outcomes(out)[LESION, "DSC"] == "regression"
    assert list(outcomes(out).values()).count("unchanged") == 3
    assert re.search(r"points worse; p 0\.0\d\d by Holm", out)


def test_a_seed_that_diverged_is_named_and_fails(check, runs):
    change_scores(runs, "DSC", lambda values, seed: values * (0.1 if seed == 2 else 1 + 1e-6))
    code, out, _ = check()
    assert (code, outcomes(out)[LESION, "DSC"]) == (1, "diverged")
    assert "seed 2 diverged" in out
    assert "1 diverged" in out.splitlines()[0]
    suite = ET.fromstring(check("--format", "junit")[1])
    assert suite.get("failures") == "1"
    assert "seed 2 diverged" in check("--format", "markdown")[1]


def test_equal_trained_weights_pair_the_seeds(bench, original, runs, tmp_path):
    def trained(record):
        record["trained_hash"] = f"{record['spec']['seed']:064}"

    change_records(runs, trained)
    arguments = ("--runs", runs, "--out", tmp_path / "b.json")
    assert bench("baseline", "--suite", "demo", *arguments)[0] == 0
    change_scores(runs, "DSC", noise(0.005, shift=-0.02))
    code, out, _ = bench("check", "--baseline", tmp_path / "b.json", "--runs", runs)
    assert (code, outcomes(out)[LESION, "DSC"]) == (1, "regression")
    assert "the trained weights are the same, so that seeds are paired" in out
    # The same drop by other networks is not more than chance.
    change_records(runs, lambda record: record.update(trained_hash=64 * "f"))
    code, out, _ = bench("check", "--baseline", tmp_path / "b.json", "--runs", runs)
    assert (code, outcomes(out)[LESION, "DSC"]) == (0, "cannot tell")


def means_of_seeds(means, scatter=0.001):
    """(S, 20) scores of seeds with these means."""
    cases = np.linspace(-0.1, 0.1, 20)
    rest = np.random.default_rng(0).normal(0, scatter, (len(means), 20))
    scores = np.array(means)[:, None] + cases + rest - rest.mean(axis=1, keepdims=True)
    return Contributions(scores, np.arange(20), np.zeros(20, int))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ([0.70, 0.71, 0.50], (2,)),
        ([0.50, 0.71, 0.49], (0, 2)),
        ([0.70, 0.71, 0.68], ()),
        ([0.70, 0.71, 0.95], ()),  # better than all is no harm
    ],
)
def test_a_seed_diverged_where_it_is_far_below_the_others(new, expected):
    drop = measure_drop(means_of_seeds([0.70, 0.72, 0.71]), means_of_seeds(new), higher_is_better=True)
    assert diverged_seeds(drop, (0, 1, 2), 0.005) == expected


def test_one_missed_lesion_more_is_no_divergence():
    old, new = (means_of_seeds([12.0, 12.1, 12.2], 0.5) for _ in range(2))
    new.values[2, 3] = 700.0
    assert diverged_seeds(measure_drop(old, new, higher_is_better=False), (0, 1, 2), 0.005) == ()


def test_one_seed_has_no_other_to_be_far_from():
    drop = measure_drop(means_of_seeds([0.7]), means_of_seeds([0.1]), higher_is_better=True)
    assert diverged_seeds(drop, (0,), 0.005) == ()


def test_a_distance_that_grows_is_a_regression(check, runs):
    change_scores(runs, "HD95", noise(1.0, shift=8.0))
    code, out, _ = check()
    assert (code, outcomes(out)[LESION, "HD95"]) == (1, "regression")


def test_noise_cannot_tell_and_says_what_would_be_found(check, runs):
    change_scores(runs, "DSC", noise(0.1))
    code, out, _ = check()
    assert (code, outcomes(out)[LESION, "DSC"]) == (0, "cannot tell")
    assert "would be found with 80 % power" in out
    assert check("--strict")[0] == 1


def test_a_gain_is_no_regression(check, runs):
    change_scores(runs, "DSC", noise(0.02, shift=0.2))
    code, out, _ = check("--strict")
    assert (code, outcomes(out)[LESION, "DSC"]) == (0, "no regression")
    assert "points better" in out


def test_a_drop_within_the_margin_is_no_regression(check, runs):
    change_scores(runs, "DSC", noise(0.01, shift=-0.15))
    assert check()[0] == 1
    code, out, _ = check("--margin", 0.3)
    assert (code, outcomes(out)[LESION, "DSC"]) == (0, "no regression")
    assert "margin 30.0 points" in out
    assert outcomes(check("--margin", 0.15)[1])[LESION, "DSC"] == "cannot tell"


def test_a_margin_of_rates_is_none_of_distances(check, runs):
    change_scores(runs, "HD95", noise(0.1, shift=2.0))
    assert check("--margin", 0.5)[0] == 1
    assert check("--margin", "HD95=4")[0] == 0


def test_the_p_value_by_hand(original, runs):
    change_scores(runs, "DSC", noise(0.1, 2.0, shift=-0.6))
    found = compare_with(load_baseline(original / "baseline.json"), Store(runs))
    [dsc] = [f for f in found.findings if f.definition.name == "DSC"]
    old, new = (np.stack([_lesions(folder, "DSC") for folder in trials(where)]) for where in (original / "runs", runs))
    d, n = old - new, 24
    rest = ((d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()) ** 2).sum() / (2 * 23) / (3 * n)
    va = max((old.mean(axis=1).var(ddof=1) + new.mean(axis=1).var(ddof=1)) / 3, rest)
    vb = max(0, d.mean(axis=0).var(ddof=1) / n - rest)
    log_ratio = np.log(new.mean(axis=1).var(ddof=1) / old.mean(axis=1).var(ddof=1))  # other metrics are unchanged
    assert abs(log_ratio) > 2  # more than chance explains
    ratio = np.exp(log_ratio * max(0, 1 - 2 * (np.pi**2 / 6) / log_ratio**2))  # trigamma(1) = pi^2 / 6
    df = 2 * (1 + ratio) ** 2 / (1 + ratio**2)

    def beyond(p):
        t = (va * stats.t.isf(p, df) + vb * stats.t.isf(p, n - 1)) / (va + vb)
        return t * (va + vb) ** 0.5 - d.mean()

    assert dsc.drop == pytest.approx(d.mean())
    assert dsc.p_value == pytest.approx(min(1, 4 * brentq(beyond, 1e-9, 0.5)), rel=1e-6)  # the smallest of four


def test_trainings_that_scatter_more_than_before_are_told(check, runs):
    change_scores(runs, "DSC", lambda values, seed: values * (0.2 + 0.4 * seed))
    remark = re.search(r"the trainings of this run scatter (\S+) times as much as the baseline's", check()[1])
    assert float(remark[1]) > 5


def scattering(before, after, models, rng, seeds=3):
    """Baseline and new run of models whose seeds have these standard deviations."""
    pairs = []
    for model in range(models):
        old, new = (
            Contributions(rng.normal(0, sd, (seeds, 1)) + np.zeros(2), np.arange(2), np.zeros(2, int))
            for sd in (before, after)
        )
        entry = Entry.model_construct(
            dataset="d", model=str(model), seeds=tuple(range(seeds)), metrics=(metric_scores("dsc.native@1", old),)
        )
        pairs.append(Matched(entry, None, Scores(entry.seeds, (), {"dsc.native@1": new})))
    return pairs


def test_the_scatter_of_all_models_together_gives_the_degrees_of_freedom():
    rng = np.random.default_rng(0)
    found = scatter_of(scattering(0.02, 0.05, 400, rng))
    assert found.log_ratio == pytest.approx(np.log(6.25), abs=0.3)
    assert found._replace(log_ratio=np.log(6.25), error=1e-6).n_sets == pytest.approx(7.25**2 / (1 + 6.25**2))
    assert "2.5 times" in found._replace(log_ratio=np.log(6.25)).remark
    assert Scatter(1.0, 1.2).n_sets == 2  # no more than chance explains
    assert scatter_of([]).n_sets == 2
    [pair] = scattering(0.02, 0.05, 1, rng)
    assert scatter_of([pair._replace(same_networks=True)]).n_sets == 2


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_trainings_that_scatter_as_before_are_seldom_said_to_do_otherwise(seeds):
    rng = np.random.default_rng(seeds)
    told = np.mean([bool(scatter_of(scattering(0.02, 0.02, 4, rng, seeds)).remark) for _ in range(600)])
    assert 0.01 < told < 0.09


def _lesions(folder, column):
    cases = pd.read_parquet(folder / "cases.parquet").sort_values("case_id")
    return cases.loc[cases["lesion"], column].to_numpy()


def test_changes_are_named_and_the_test_goes_on(check, runs):
    def change(record):
        record["spec"]["training"]["lr"] = 0.5
        record["environment"] = {"versions": {"torch": "9.9"}}

    change_records(runs, change)
    code, out, _ = check()
    assert code == 0
    assert f"changed since the baseline, {LESION}: training.lr: " in out
    assert '"torch": "9.9"' in out


def test_costs_are_gated_where_a_limit_is_set(check, runs):
    def change(record):
        record["cost"] |= {"wall_s": 3.0, "train_images_per_s": 5.0}

    change_records(runs, change)
    assert check()[0] == 0
    code, out, _ = check("--max-slowdown", 2)
    assert code == 1
    assert f"too costly     {LESION}  wall time, s: 1 -> 3, ratio 3, limit 2" in out
    assert check("--max-slowdown", 3.5)[0] == 0
    assert check("--min-throughput", 0.6)[0] == 1
    assert check("--min-throughput", 0.5)[0] == 0
    assert check("--max-memory", 1.0)[0] == 0


def test_exact_finds_no_bit_changed_in_the_same_code(check):
    code, out, _ = check("--exact")
    assert code == 0
    assert out.count("every score equal to the last bit") == 2


def test_exact_finds_the_last_bit_that_metric_code_changes(check, monkeypatch):
    import usfm_bench.regression.bits as bits

    scored = bits.score_cases

    def changed(task, predictions, who):
        cases = scored(task, predictions, who)
        if "NSD" in cases:
            cases["NSD"] = np.nextafter(cases["NSD"], 2)
        return cases

    monkeypatch.setattr(bits, "score_cases", changed)
    code, out, _ = check("--exact")
    assert code == 1
    assert f"{LESION}: other bits in nsd.2px.native@1" in out
    assert outcomes(out)[LESION, "DSC"] == "unchanged"


def test_exact_reads_predictions_and_not_what_is_stored(check, runs):
    change_scores(runs, "DSC", lambda values, seed: values - 0.3)
    assert check()[0] == 1
    assert check("--exact")[0] == 0
    for folder in trials(runs):
        (folder / "predictions.npz").unlink()
    code, _, err = check("--exact")
    assert code == 2
    assert "predictions.npz: missing or damaged" in err


def test_junit_counts_what_failed_and_what_cannot_be_told(check, runs):
    change_scores(runs, "DSC", noise(0.02, shift=-0.2))
    change_scores(runs, "HD95", noise(3.0))
    code, out, _ = check("--format", "junit", "--max-slowdown", 2)
    suite = ET.fromstring(out)
    assert code == 1
    assert [suite.get(key) for key in ("tests", "failures", "skipped")] == ["6", "1", "1"]
    [failed] = suite.findall("testcase[failure]")
    assert (failed.get("classname"), failed.get("name")) == (LESION, "DSC")
    assert failed.find("failure").get("message").startswith("regression: ")
    strict = ET.fromstring(check("--format", "junit", "--strict")[1])
    assert (strict.get("failures"), strict.get("skipped")) == ("2", "0")


def test_markdown_has_a_row_a_metric(check, runs):
    change_scores(runs, "DSC", noise(0.02, shift=-0.2))
    code, out, _ = check("--format", "markdown")
    assert code == 1
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert sum("| tiny" in row for row in rows) == 4 + 6  # and wall time, memory, speed of two
    assert any(row.startswith("| regression") for row in rows)


def test_a_baseline_names_no_case(original):
    text = (original / "baseline.json").read_text()
    cases = pd.read_parquet(trials(original / "runs")[0] / "cases.parquet")
    assert not any(f'"{name}"' in text for name in [*cases["case_id"], *cases["group_id"]])


def test_a_baseline_names_no_case_that_is_left_out(bench, runs, tmp_path):
    change_records(runs, lambda r: r["spec"]["dataset"].update(exclude={"Mueller_Anna_1970.png": "consent withdrawn"}))
    assert bench("baseline", "--suite", "demo", "--runs", runs, "--out", tmp_path / "b.json")[0] == 0
    text = (tmp_path / "b.json").read_text()
    assert "Mueller" not in text
    assert "consent" not in text


def test_a_baseline_is_small(original):
    text = (original / "baseline.json").read_text()
    assert len(text) < 60_000


def test_one_seed_can_be_unchanged_but_never_a_regression(bench, tmp_path, make_store):
    store = make_store(seeds=1, models=[UNET])
    made = tmp_path / "one.json"
    code, _, err = bench("baseline", "--suite", "demo", "--runs", store.root, "--out", made)
    assert code == 0
    assert "one seed. How much another training differs is not known" in err
    assert set(outcomes(bench("check", "--baseline", made, "--runs", store.root)[1]).values()) == {"unchanged"}
    change_scores(store.root, "DSC", noise(0.02, shift=-0.3))
    code, out, _ = bench("check", "--baseline", made, "--runs", store.root)
    assert (code, outcomes(out)[LESION, "DSC"]) == (0, "cannot tell")
    assert "one seed: how much another training would differ is not known" in out


def test_models_that_the_baseline_lacks_are_named(bench, original, runs):
    content = json.loads((original / "baseline.json").read_text())
    content["entries"] = content["entries"][:1]
    (runs.parent / "less.json").write_text(json.dumps(content))
    code, out, _ = bench("check", "--baseline", runs.parent / "less.json", "--runs", runs)
    assert code == 0
    kept = content["entries"][0]["dataset"]
    assert f"not in the baseline, not checked: {'tiny / ' if kept == 'tiny-lesion' else 'tiny-lesion / '}" in out


def test_every_fault_of_the_runs_is_named_at_once(check, runs):
    (trials(runs)[1] / "record.json").unlink()
    (trials(runs)[1] / "record.json").with_suffix(".tmp").touch()
    change_records(runs, lambda record: record.update(data_hash="f" * 64), "tiny")
    code, out, err = check()
    assert (code, out) == (2, "")
    assert f"{LESION}: seed 1 of the baseline is not finished." in err
    assert f"tiny / {MICRO}: the data changed (" in err
    assert "-> ffffffff). Write a new baseline." in err


def test_a_missing_model_another_split_and_other_cases_are_named(check, runs):
    shutil.rmtree(runs / "demo" / "tiny")
    change_records(runs, lambda record: record.update(split_hash="1" * 64))
    code, _, err = check()
    assert code == 2
    assert f"tiny / {MICRO}: no trial is finished." in err
    assert f"{LESION}: the split changed" in err


def test_other_cases_are_counted(check, runs):
    for folder in trials(runs):
        cases = pd.read_parquet(folder / "cases.parquet")
        first = cases.index[cases["lesion"]][0]
        cases.loc[first, "case_id"] = "another one"
        cases.to_parquet(folder / "cases.parquet", index=False)
    code, _, err = check()
    assert code == 2
    assert "other cases than the baseline's: 1 of its 24 are not scored, 1 are new. Write a new baseline." in err


def test_damaged_cases_are_named(check, runs):
    (trials(runs)[0] / "cases.parquet").write_bytes(b"PAR1 and no more")
    code, _, err = check()
    assert code == 2
    assert "cases.parquet: missing or damaged" in err


@pytest.mark.parametrize("made", ["no folder", "empty", "another suite"])
def test_runs_without_the_suite_are_an_error(check, runs, made):
    if made == "another suite":
        (runs / "demo").rename(runs / "busi-seg")
    else:
        shutil.rmtree(runs)
        if made == "empty":
            runs.mkdir()
    code, _, err = check()
    assert code == 2
    assert "has no finished trial of the baseline's suite 'demo', profile 'smoke'" in err
    assert ("it has suite busi-seg, profile smoke" in err) == (made == "another suite")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as a baseline"),
        ("[]", "is not a baseline"),
        ('{"kind": "other"}', "is not a baseline"),
        ('{"kind": "usfm-bench baseline", "schema_version": 99}', "schema_version is 99, this usfm-bench reads 1"),
        ('{"kind": "usfm-bench baseline", "schema_version": 1, "suite": "demo"}', "profile: is missing"),
    ],
)
def test_what_is_no_baseline_is_an_error(bench, tmp_path, text, message):
    (tmp_path / "b.json").write_text(text)
    code, _, err = bench("check", "--baseline", tmp_path / "b.json", "--runs", tmp_path)
    assert code == 2
    assert message in err
    assert bench("check", "--baseline", tmp_path / "none.json")[0] == 2


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        ("-1", "expected a number of 0 or more"),
        ("DSC=x", "expected a number of 0 or more"),
        ("2", "rates are fractions, so one point is 0.01"),
        ("HD59=2", "--margin HD59: baselines have no such metric. Did you mean 'HD95'?"),
    ],
)
def test_margins_that_make_no_sense_are_an_error(check, margin, message):
    code, _, err = check(f"--margin={margin}")
    assert code == 2
    assert message in err


def test_nothing_to_make_a_baseline_of_is_an_error(bench, tmp_path):
    code, _, err = bench("baseline", "--suite", "demo", "--runs", tmp_path, "--out", tmp_path / "b.json")
    assert code == 2
    assert "No finished trial of suite 'demo'" in err
    assert not (tmp_path / "b.json").exists()


def test_check_imports_nothing_slow(original):
    code = (
        "import sys; from usfm_bench.cli.app import app; "
        f"app(['check', '--baseline', {str(original / 'baseline.json')!r}, '--runs', {str(original / 'runs')!r}],"
        " standalone_mode=False); print('MODULES', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split("MODULES")[1].split())
    assert not {"torch", "timm", "pandas", "sklearn", "scipy.stats", "matplotlib"} & loaded


def test_pseudo_values_have_the_variance_of_the_jackknife():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 60), np.arange(60) // 2
    odds = np.exp(rng.normal(0, 1, (1, 60, 3)) + 1.5 * np.eye(3)[labels])
    probabilities = odds / odds.sum(axis=2, keepdims=True)
    found = class_contributions(DEFINITIONS["f1.macro@1"], probabilities, labels, groups, np.zeros(60, int))
    values = deleted(DEFINITIONS["f1.macro@1"], probabilities, labels, groups=groups)[0]
    assert found.metric == pytest.approx(values[0])
    jackknife = 29 / 30 * ((values[1:] - values[1:].mean()) ** 2).sum()
    assert variance_components(found.values, found.groups).variance == pytest.approx(jackknife)


def test_a_metric_that_needs_a_group_has_no_contributions():
    probabilities = np.full((2, 6, 2), 0.5)
    labels = np.array([0, 0, 0, 0, 1, 1])
    groups = np.array([0, 1, 2, 3, 4, 4])
    assert class_contributions(DEFINITIONS["f1.macro@1"], probabilities, labels, groups, np.zeros(6, int)) is None
    found = measure_drop(None, None, higher_is_better=True)
    assert found.reason
    assert found.parts is None


def test_every_case_worse_by_the_same_is_certain():
    scores = np.full((3, 10), 0.5)
    old, new = (Contributions(x, np.arange(10), np.zeros(10, int)) for x in (scores, scores - 0.1))
    found = measure_drop(old, new, higher_is_better=True)
    assert found.drop == pytest.approx(0.1)
    assert p_beyond(found.parts, 0.0) < 1e-9
    assert p_beyond(found.parts, 0.1) == 0.5
    assert p_beyond(found.parts, 0.2) > 1 - 1e-9


@pytest.mark.parametrize(("shift", "margin"), [(-0.01, 0.01), (-2e-8, 0.0)])
def test_a_drop_of_just_the_margin_is_no_regression(check, runs, shift, margin):
    change_scores(runs, "DSC", lambda values, seed: values + shift)
    code, out, _ = check("--margin", margin)
    assert (code, outcomes(out)[LESION, "DSC"]) == (0, "cannot tell")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("command", ["check", "baseline"])
def test_a_training_that_diverged_is_an_error_and_no_score(bench, original, runs, tmp_path, command, value):
    for folder in trials(runs, "tiny")[:1]:
        cases = pd.read_parquet(folder / "cases.parquet")
        cases.loc[3, "p_benign"] = value
        cases.to_parquet(folder / "cases.parquet", index=False)
    more = ("--baseline", original / "baseline.json") if command == "check" else ("--suite", "demo", "--out", "b.json")
    code, _, err = bench(command, *more, "--runs", runs)
    assert code == 2
    assert "seed 0: p_benign holds what is no number" in err


def edit_cases(folder, change):
    cases = pd.read_parquet(folder / "cases.parquet")
    change(cases).to_parquet(folder / "cases.parquet", index=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[5:], "other case_id, group_id, lesion, fold than the first seed"),
        (lambda c: c[:0], "seed 1: 0 cases"),
        (lambda c: c.assign(case_id=c["case_id"] + "x"), "seed 1: other case_id"),
        (lambda c: c.assign(group_id="one"), "seed 1: other group_id"),
        (lambda c: pd.concat([c, c[:2]]), "of which 2 twice"),
        (lambda c: c.assign(HD95=np.inf), "HD95 holds what is no number"),
        (lambda c: c.assign(DSC="high"), "DSC holds what is no number"),
    ],
)
def test_a_damaged_seed_is_an_error(check, runs, change, message):
    edit_cases(trials(runs)[1], change)
    code, _, err = check()
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_report_of_seeds_with_different_cases_is_an_error(bench, runs):
    edit_cases(trials(runs)[1], lambda c: c[5:])
    code, _, err = bench("report", "--suite", "demo", "--runs", runs)
    assert code == 2
    assert "hold different cases" in err


def first_metric(content):
    return content["entries"][0]["metrics"][0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: first_metric(c)["values"][0].pop(), "are of different lengths"),
        (lambda c: first_metric(c)["values"].pop(), "has not one row a seed"),
        (lambda c: first_metric(c)["groups"].reverse(), "cases are grouped or folded in another way"),
        (lambda c: c["entries"][0].update(seeds=[]), "expected at least one, each once"),
        (lambda c: c["entries"][0].update(seeds=[0, 0, 1]), "expected at least one, each once"),
        (lambda c: c.update(entries=[]), "entries: "),
        (lambda c: c["entries"].append(c["entries"][0]), "is there twice"),
        (lambda c: c["entries"][0]["metrics"].append(first_metric(c)), "expected at least one, each once"),
        (lambda c: first_metric(c)["values"][0].__setitem__(0, float("nan")), "finite number"),
        (
            lambda c: c["entries"][0].update(
                task="segmentation" if c["entries"][0]["task"][0] == "c" else "classification"
            ),
            "the baseline is of",
        ),
        (lambda c: c["entries"][0]["cost"].update(wall_s=-1), "cost.wall_s"),
    ],
)
def test_a_baseline_that_was_edited_is_an_error(bench, original, runs, tmp_path, edit, message):
    content = json.loads((original / "baseline.json").read_text())
    edit(content)
    (tmp_path / "b.json").write_text(json.dumps(content))
    code, _, err = bench("check", "--baseline", tmp_path / "b.json", "--runs", runs, "--strict")
    assert code == 2
    assert message in err


def test_a_limit_of_an_unknown_cost_is_an_error(check, runs):
    change_records(runs, lambda record: record["cost"].update(train_images_per_s=None))
    assert check()[0] == 0
    code, _, err = check("--min-throughput", 0.5)
    assert code == 2
    assert "training images/s is not known on both sides" in err


def test_the_summary_names_costs_and_bits(check, runs, monkeypatch):
    change_records(runs, lambda record: record["cost"].update(wall_s=3.0))
    assert "; 1 cost beyond the limit." in check("--max-slowdown", 2)[1].splitlines()[0]
    assert "| too costly" in check("--max-slowdown", 2, "--format", "markdown")[1]


def test_changes_stand_above_the_outcomes(check, runs):
    change_records(runs, lambda record: record["spec"]["training"].update(lr=0.5))
    change_scores(runs, "DSC", noise(0.02, shift=-0.2))
    assert "training.lr" in check()[1].splitlines()[1]
    assert check("--format", "markdown")[1].index("training.lr") < check("--format", "markdown")[1].index("| Outcome")
    failed = ET.fromstring(check("--format", "junit")[1]).find("testcase/failure")
    assert "training.lr" in failed.get("message")


def test_seeds_that_the_baseline_lacks_are_named(bench, tmp_path, make_store):
    store = make_store(seeds=2, models=[UNET])
    assert bench("baseline", "--suite", "demo", "--runs", store.root, "--out", tmp_path / "b.json")[0] == 0
    make_store(seeds=3, models=[UNET])
    code, out, _ = bench("check", "--baseline", tmp_path / "b.json", "--runs", store.root)
    assert code == 0
    assert f"{LESION}: seed 2: not in the baseline, not checked" in out


def test_control_characters_reach_neither_terminal_nor_xml(bench, original, runs, tmp_path):
    content = json.loads((original / "baseline.json").read_text())
    content["entries"][0]["weight_hash"] = "\x1b[31m\x00red"
    (tmp_path / "b.json").write_text(json.dumps(content))
    for form in ("text", "markdown", "junit"):
        _, out, _ = bench("check", "--baseline", tmp_path / "b.json", "--runs", runs, "--format", form)
        assert "weights: " in out
        assert not set(out) & {"\x1b", "\x00"}
    ET.fromstring(out)


def test_junit_says_why_nothing_could_be_checked(bench, original, tmp_path):
    code, out, err = bench(
        "check", "--baseline", original / "baseline.json", "--runs", tmp_path / "none", "--format", "junit"
    )
    assert code == 2
    assert "no finished trial" in ET.fromstring(out).find("testcase/error").get("message")
    assert "no finished trial" in err


def test_too_few_groups_cannot_be_tested():
    old, new = (Contributions(np.full((3, 2), x), np.zeros(2, int), np.zeros(2, int)) for x in (0.5, 0.4))
    assert measure_drop(old, new, higher_is_better=True).reason == "too few cases, or groups of them"


def test_a_metric_that_is_no_longer_guarded_needs_a_new_baseline(original, runs):
    baseline = load_baseline(original / "baseline.json")
    [first, *rest] = baseline.entries
    renamed = first.metrics[0].model_copy(update={"definition": "dsc.native@0"})
    changed = first.model_copy(update={"metrics": (renamed, *first.metrics[1:])})
    with pytest.raises(BenchError, match=r"the baseline holds .*this usfm-bench guards"):
        compare_with(baseline.model_copy(update={"entries": (changed, *rest)}), Store(runs))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_a_check_of_reruns_with_nothing_changed_errs_in_at_most_five_of_a_hundred(seeds):
    found = simulated_checks.errors(seeds, reruns=1000, rng=np.random.default_rng(0))
    assert found <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_a_check_finds_a_drop_of_twice_what_it_says_it_would_find(seeds):
    assert min(simulated_checks.power(seeds, reruns=300, rng=np.random.default_rng(0)).values()) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_a_check_finds_the_drop_that_it_says_it_would_find_in_about_eighty_of_a_hundred(seeds):
    found = simulated_checks.power(seeds, reruns=300, rng=np.random.default_rng(0), times=1.0)
    assert all(0.7 <= share <= 0.95 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "least", "most"),
    [
        (simulated_checks.DropCell(5, 130, 10, 2), 0.95, 1.0),
        (simulated_checks.DropCell(3, 130, 5, 12, 0.008, 0.2), 0.02, 0.2),
        (simulated_checks.DropCell(3, 130, 0, 2), 0.0, 0.06),
    ],
    ids=str,
)
def test_a_check_finds_drops_of_dice_as_often_as_its_docs_say(cell, least, most):
    assert least <= simulated_checks.power_of_drop(cell, 300, np.random.default_rng(1)) <= most
