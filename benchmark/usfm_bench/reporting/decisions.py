"""What was chosen on validation data, and what it does on test data: thresholds and temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from usfm_bench.metrics.operating import COLDEST, HOTTEST, RULES, VERSION, Tuned
from usfm_bench.metrics.tuned import DECIDED
from usfm_bench.pipe_table import Grid
from usfm_bench.reporting.cells import cell, count, dataset_name, heading
from usfm_bench.reporting.rows import Row
from usfm_bench.results.frames import ModelResults

DECISIONS = "Decisions by thresholds chosen on validation data"
_UNTUNED = "largest probability"
_FEW = 20  # positive validation cases; see docs/method.md, Thresholds


def decision_grid(rows: Sequence[Row], results: Sequence[ModelResults]) -> Grid | None:
    """One line a rule, of the positive class; first the decisions by the largest probability, without a threshold."""
    if not any("@" in row.metric for row in rows):
        return None
    of_class = {(row.dataset, row.model, row.label, row.metric): row for row in rows}
    header = ["Dataset", "Model", "Class", "Threshold for", "Threshold", "In validation"]
    header += [*(heading(name, "fraction") for name in DECIDED), "Seeds", "Cases"]
    body, of = [], []
    for r in results:
        spec, tuned = r.first.spec, _tuned(r)
        positive = spec.dataset.positive
        for rule, words in {"": _UNTUNED, **RULES}.items():
            names = [f"{name}@{rule.upper()}" if rule else name for name in DECIDED]
            found = [of_class.get((spec.dataset.name, spec.model, positive, name)) for name in names]
            if positive is None or (first := found[0]) is None:
                continue
            chosen = [_range([t.probability(rule) for t in tuned]), _positives(tuned)] if rule else ["", ""]
            who = [dataset_name(spec.dataset.name, first), spec.model, positive, words]
            figures = ["" if row is None else cell(row) for row in found]
            body.append([*who, *chosen, *figures, count(first.n_seeds), count(first.n_cases)])
            of.append((spec.dataset.name, spec.model))
    return Grid(header, body, tuple(of))


def tuning_caption(rows: Sequence[Row]) -> list[str]:
    """How to read numbers after a choice on validation cases."""
    names = {row.metric for row in rows}
    lines = []
    if "ECE_T" in names:
        lines.append(
            "ECE_T, BRIER_T: after temperature scaling, by one temperature a trial, fitted on its validation cases; it "
            "changes no predicted class. Intervals as of ECE and BRIER."
        )
    if "ECE" in names:
        lines.append(
            "ECE is biased upwards: so few cases have ECE_CHANCE even where probabilities mean what they say. Read "
            "ECE_DEBIASED, which is without it and has the interval; ECE itself is for comparison with other papers."
        )
    if any("@" in name for name in names):
        lines.append(
            f"{DECISIONS}: a case is called positive where the class's probability is at least the threshold. Each "
            "trial chose its own, on its validation cases alone: @F1 with the highest F1, @SPEC90 and @SPEC95 the "
            "lowest with a specificity of at least 90 and 95 % there. SPEC is what came of it on test cases. "
            "Threshold: median (lowest to highest) of the trials; in validation: positive cases of all. Intervals are "
            "given these thresholds; how far other validation cases would move them is in none."
        )
    return lines


def tuning_notes(results: ModelResults) -> list[str]:
    """Why numbers after tuning are missing, or shaky."""
    spec, trials = results.first.spec, [(record.spec, record.tuned) for record in results.records]
    if spec.task == "segmentation":
        return []
    who, positive = f"{spec.dataset.name}, {spec.model}", spec.dataset.positive
    if positive and any(tuned is None for _, tuned in trials):
        return [f"{who}: no thresholds: a trial of an earlier version kept no validation predictions; --fresh does"]
    if positive and any(tuned is not None and tuned.version < VERSION for _, tuned in trials):
        return [
            f"{who}: no thresholds: a trial of an earlier version chose them otherwise; `usfm-bench score RUNS "
            "--update` chooses them anew"
        ]
    found = []
    for trial, tuned in trials:
        place = f"seed {trial.seed}" + (f", fold {trial.fold}" if trial.split.folds > 1 else "")
        if tuned is not None and tuned.temperature in (COLDEST, HOTTEST):
            found.append(
                f"{who}: the temperature of {place} is at its bound, {tuned.temperature:g}: "
                f"its {tuned.n} validation cases "
                + ("are all but separated" if tuned.temperature == COLDEST else "are not told apart")
            )
        if positive and tuned is not None and not tuned.thresholds:
            found.append(f"{who}: no thresholds: the validation cases of {place} are all {positive}, or none is")
    n = [tuned.n_positive for _, tuned in trials if tuned is not None and tuned.n_positive]
    if positive and n and min(n) < _FEW:
        found.append(
            f"{spec.dataset.name}: validation cases of class {positive}: {min(n)}, few to choose thresholds on"
        )
    return found


def _tuned(results: ModelResults) -> list[Tuned]:
    return [record.tuned for record in results.records if record.tuned is not None]


def _range(values: Sequence[float]) -> str:
    """`0.31 (0.12 to 0.55)`: median, lowest and highest; one number where it is the only one."""
    middle = f"{median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} to {max(values):.2f})"


def _positives(tuned: Sequence[Tuned]) -> str:
    """`8 of 30`, positive validation cases of all; one each where folds differ."""
    return ", ".join(dict.fromkeys(f"{t.n_positive} of {t.n}" for t in tuned))
