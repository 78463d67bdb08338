"""The mean corruption error of MedMNIST-C: by hand from confusion matrices, and what is said where conditions lack."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from invented import invent_store
from usfm_bench.data.corruptions import SEVERITIES
from usfm_bench.data.corruptions.medmnistc import ALEXNET
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.robustness import corruption_errors
from usfm_bench.specs.condition import Condition

TWO = """
tiny-two:
  extends: tiny
  classes: [rest, malignant]
  relabel: {benign: rest, normal: rest}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory, tiny_registry):
    folder = tmp_path_factory.mktemp("mce")
    registry = folder / "registry.yaml"
    registry.write_text(tiny_registry.read_text() + TWO)
    store = invent_store(folder, registry, datasets=("tiny-two",), seeds=2)
    return build_report(store, "demo")


def under_conditions(results, rng):
    """The same cases with other probabilities under each condition."""
    found = {}
    for name in ALEXNET:
        for severity in SEVERITIES:
            cases = results.cases.copy()
            columns = [f"p_{c}" for c in results.first.classes]
            drawn = rng.dirichlet([1, 1], len(cases))
            cases[columns] = drawn
            found[Condition(corruption=name, severity=severity, version=1)] = replace(results, cases=cases)
    return found


def test_it_is_the_mean_of_errors_as_shares_of_alexnets(report):
    results = next(r for r in report.results if not r.task.per_case)
    corrupted = under_conditions(results, np.random.default_rng(0))
    [found] = corruption_errors([results], [corrupted])

    def error(r, seed):
        rows = r.cases[r.cases["seed"] == seed]
        said = rows[[f"p_{c}" for c in r.first.classes]].to_numpy().argmax(axis=1)
        return 1 - balanced_accuracy_score(rows["label"], said)

    ratios, all_errors = [], []
    for name, alexnet in ALEXNET.items():
        errors = [error(r, seed) for c, r in corrupted.items() if c.corruption == name for seed in results.seeds]
        ratios.append(np.mean(errors) / alexnet)
        all_errors += errors
    assert found.error.point == pytest.approx(np.mean(ratios))
    assert found.corrupted == pytest.approx(np.mean(all_errors))
    assert found.clean == pytest.approx(np.mean([error(results, seed) for seed in results.seeds]))
    assert found.error.low < found.error.point < found.error.high
    assert not found.lacking


def test_conditions_that_lack_are_named_and_no_number_is_given(report):
    results = next(r for r in report.results if not r.task.per_case)
    corrupted = under_conditions(results, np.random.default_rng(0))
    del corrupted[Condition(corruption="medmnistc-jpeg", severity=4, version=1)]
    [found] = corruption_errors([results], [corrupted])
    assert (found.lacking, found.error) == (("medmnistc-jpeg-4",), None)
    assert not corruption_errors([results], [{}])
    haze = {Condition(corruption="haze", severity=1, version=1): results}
    assert not corruption_errors([results], [haze])


def test_the_section_shows_both(report):
    results = next(r for r in report.results if not r.task.per_case)
    corrupted = under_conditions(results, np.random.default_rng(0))
    errors = corruption_errors([results], [corrupted])
    clean = report.results[0].first.spec
    loss = _loss(clean.table, clean.dataset.name, clean.model)
    text = render([replace(report, losses=(loss,), corruption_errors=tuple(errors))], "markdown", ["robustness"])
    assert "Mean corruption error of MedMNIST-C" in text
    lacking = replace(errors[0], error=None, lacking=("medmnistc-jpeg-4",))
    text = render([replace(report, losses=(loss,), corruption_errors=(lacking,))], "markdown", ["robustness"])
    assert "no mCE, since medmnistc-jpeg-4 were not evaluated" in text


def _loss(table, dataset, model):
    from usfm_bench.reporting.robustness import Loss
    from usfm_bench.stats import Interval

    none = Interval(0.1, 0.0, 0.2, "cases")
    what = {"metric": "ACC", "definition": "acc@1", "unit": "fraction", "higher_is_better": True}
    numbers = {"n_conditions": 1, "clean": 0.9, "corrupted": 0.8, "n_seeds": 2, "n_cases": 10}
    return Loss(
        table=table,
        dataset=dataset,
        model=model,
        corruption=None,
        severity=None,
        severities=(1,),
        loss=none,
        relative=none,
        **what,
        **numbers,
    )
