"""From Python: a model of one's own, or any that has a name, on registered data sets, in one call."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usfm_bench.core.errors import BenchError
from usfm_bench.models.zoo.own import OWN, Own
from usfm_bench.specs.family import IMAGENET
from usfm_bench.specs.model import resolve

if TYPE_CHECKING:
    import pandas as pd

    from usfm_bench.suites.plan import Suite

_SUITES = ("busi-cls", "busi-seg")  # for their task and split; the data sets are those that were asked for
_COLUMNS = ["dataset", "model", "metric", "unit", "mean", "ci_low", "ci_high", "n_seeds", "n_cases", "definition"]
_COMPARED = ["dataset", "metric", "a", "b", "difference", "ci_low", "ci_high", "p_value", "p_holm", "unit", "reason"]
_counter = itertools.count(1)


def benchmark(
    model: Any,
    datasets: str | Sequence[str],
    adaptation: str = "full",
    *,
    seeds: int = 3,
    profile: str = "quick",
    mean: Sequence[float] = IMAGENET[0],
    std: Sequence[float] = IMAGENET[1],
    compare: bool = False,
    data_root: str | Path = "data",
    runs: str | Path | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Train or probe models on data sets and give their metrics with intervals.

    Args:
        model: a name of `usfm-bench models list`, a `torch.nn.Module`, or a list of them. A module takes normalised
            images (B, 3, S, S), of the profile's S, and gives features (B, D), (B, N, D) or (B, C, h, w), which are
            averaged over all but B and D. It is copied for each seed and classifies.
        datasets: a name of the registry, or several of one task.
        adaptation: `full`, `frozen`, `lora`, `linear` or `knn`, of all models.
        seeds: how many.
        profile: `quick`, `paper`, `smoke`, or the file of a recipe.
        mean: that a module's images in [0, 1] are normalised with.
        std: the same.
        compare: give every pair of models, paired by case, instead of each model.
        data_root: where the data sets lie.
        runs: folder of the results, which a second call goes on with; None: a temporary one.
        device: `cpu` or `cuda`.
        say: told what is going on.

    Returns:
        One row a data set, model and metric, or with `compare` a pair of models: rates are fractions.

    Raises:
        BenchError: an unknown name, a data set of no common task, or a trial that failed; says which.
    """
    from usfm_bench.execution.run import run_trials
    from usfm_bench.reporting import build_report
    from usfm_bench.results.store import Store
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.suites.plan import plan_suite

    names = [datasets] if isinstance(datasets, str) else list(datasets)
    models = list(model) if isinstance(model, list | tuple) else [model]
    if runs is not None and not all(isinstance(each, str) for each in models):
        raise BenchError("A module has no name under which its results could be found again: leave `runs` out.")
    with contextlib.ExitStack() as stack:
        known = [stack.enter_context(_named(each, mean, std)) for each in models]
        adapted = [name if adaptation == "full" else f"{name}@{adaptation}" for name in known]
        suite = _suite_for(names, set.intersection(*(set(resolve(name).tasks) for name in adapted)))
        folder = Path(runs) if runs is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trials = plan_suite(
            suite,
            load_registry(),
            profile=profile,
            models=adapted,
            datasets=names,
            seeds=range(seeds),
        )
        tally = run_trials(
            trials,
            data_root=Path(data_root),
            runs=folder,
            device=device,
            workers=1,
            fresh=False,
            tell=lambda event: None,
            say=say,
            keep=lambda kept: None,
            keep_weights=runs is not None,
        )
        if tally.exit_code:
            bad = [f"{o.spec.label}: {o.message}" for o in tally.outcomes if o.status != "done" and o.message]
            raise BenchError("\n".join(bad) or "No trial was finished.")
        report = build_report(Store(folder), suite.name, trials[0].profile)
    return _frame(report, adapted, compare=compare)


def _frame(report: Any, models: Sequence[str], *, compare: bool) -> pd.DataFrame:
    import pandas as pd

    if compare:
        pairs = [asdict(pair) for pair in report.comparisons if {pair.a, pair.b} <= set(models)]
        return pd.DataFrame(pairs, columns=_COMPARED)
    rows = [
        asdict(row)
        for row in report.rows
        if row.source == "measured" and row.label is None and row.emulates is None and row.model in models
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _suite_for(datasets: Sequence[str], of_models: set[str]) -> Suite:
    """A suite of one task that all data sets and models have."""
    from usfm_bench.specs.dataset import find_dataset, load_registry
    from usfm_bench.suites.plan import load_suite

    registry = load_registry()
    common = set.intersection(*(set(find_dataset(name, registry).tasks) for name in datasets)) if datasets else set()
    for suite in map(load_suite, _SUITES):
        if {part.task for part in suite.parts} <= common & of_models:
            return suite
    of_data, able = (", ".join(sorted(tasks)) or "none" for tasks in (common, of_models))
    raise BenchError(
        f"{', '.join(datasets) or 'No data set'}: there is no task that all data sets and models have. All data sets "
        f"are for {of_data}, all models for {able}."
    )


@contextlib.contextmanager
def _named(model: Any, mean: Sequence[float], std: Sequence[float]) -> Iterator[str]:
    """The name of a model; a module has one for as long as it is benchmarked."""
    if isinstance(model, str):
        yield model
        return
    if not callable(getattr(model, "forward", None)):
        raise BenchError(f"A model is a name or a torch.nn.Module, not a {type(model).__name__}.")
    title = f"{type(model).__name__}-{next(_counter)}"
    OWN[title] = model, tuple(mean), tuple(std)
    try:
        yield f"{Own.name}:{title}"
    finally:
        del OWN[title]
