"""Why numbers after a choice on validation cases are missing, or shaky."""

from __future__ import annotations

from usfm_bench.metrics.operating import COLDEST, HOTTEST, VERSION
from usfm_bench.results.frames import ModelResults

_FEW = 20  # positive validation cases; see docs/thresholds.md


def tuning_notes(results: ModelResults) -> list[str]:
    """What to say of one model on one data set."""
    spec, trials = results.first.spec, [(record.spec, record.tuned) for record in results.records]
    if results.task.per_case:
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
