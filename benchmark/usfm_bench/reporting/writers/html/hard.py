"""Cases to look at first: hard for all models, judged differently by them, or lost when their images are corrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import numpy as np
import pandas as pd

from usfm_bench.core.words import counted, number, unit_sign
from usfm_bench.data.corruptions import CORRUPTIONS
from usfm_bench.metrics.definitions import Definition
from usfm_bench.reporting.figures.group import FigureData, true_class
from usfm_bench.reporting.robustness import Corrupted
from usfm_bench.results.frames import ModelResults, counted_scores

_MOST = 6  # of a list
_HALF = 0.5
_SAME = 1e-9  # rounding


@dataclass(frozen=True)
class Scale:
    """What a case's score is."""

    name: str
    unit: str
    sign: float
    """1 where higher is better, -1 where lower is."""

    def words(self, value: float) -> str:
        """A score with its unit."""
        return f"{number(value, self.unit)} {unit_sign(self.unit)}".strip()


@dataclass(frozen=True)
class HardCase:
    """One case of a list."""

    case: str
    link: str
    words: str


@dataclass(frozen=True)
class HardList:
    """Some cases for one reason."""

    title: str
    cases: tuple[HardCase, ...]


def hard_lists(group: FigureData, ident: str, corrupted: Sequence[Corrupted]) -> Iterator[HardList]:
    """Three at most, each of a few cases.

    Args:
        group: the models of one data set.
        ident: of its case browser.
        corrupted: of each result of the group, under the conditions that were evaluated.
    """
    scale = _scale(group)
    if scale is None:
        return
    table = pd.DataFrame({r.first.spec.model: _by_case(group, r) for r in group.results})
    hardest = table.mean(axis=1).mul(scale.sign).dropna().sort_values(kind="stable").head(_MOST)
    yield HardList(
        f"Hardest for all models, by mean {scale.name}",
        tuple(_case(ident, case, _missed(table.loc[case], scale)) for case in hardest.index),
    )
    spread = (table.max(axis=1) - table.min(axis=1)).dropna().sort_values(ascending=False, kind="stable").head(_MOST)
    if apart := [case for case in spread.index if spread[case] > _SAME and table.loc[case].count() > 1]:
        yield HardList(
            "Models disagree most", tuple(_case(ident, case, _ends(table.loc[case], scale)) for case in apart)
        )
    if falls := list(_falls(group, ident, table, corrupted, scale)):
        yield HardList("Falls furthest under each corruption, mean over models", tuple(falls))


def _scale(group: FigureData) -> Scale | None:
    if not group.task.per_case:
        return Scale("probability of the true class", "fraction", 1.0)
    definition = _definition(group)
    sign = 1.0 if definition is None or definition.higher_is_better else -1.0
    return None if definition is None else Scale(definition.name, definition.unit, sign)


def _definition(group: FigureData) -> Definition | None:
    """Of the score by case; None where a task has none."""
    name = group.task.by_case
    known = group.task.per_case and all(name in r.definitions for r in group.results)
    return group.results[0].definition(name) if known else None


def _by_case(group: FigureData, results: ModelResults) -> pd.Series[float]:
    """Mean over seeds of each case's score, by case id; NaN where it is undefined or does not count."""
    results = results.averaged
    definition = _definition(group)
    if definition is None:
        values = true_class(results)
    else:
        _, scores, used = counted_scores(results, definition, group.missed)
        values = np.where(used, scores, np.nan)
    return pd.Series(values.mean(axis=0), index=results.case_table["case_id"].astype(str))


def _case(ident: str, case: str, words: str) -> HardCase:
    return HardCase(case, f"#case/{ident}/{quote(case, safe='')}", words)


def _missed(row: pd.Series[float], scale: Scale) -> str:
    mean = f"mean {scale.words(row.mean())}"
    if scale.unit != "fraction" or scale.sign < 0:
        return mean
    return f"{mean}; {int((row < _HALF).sum())} of {counted(int(row.count()), 'model')} below 50 %"


def _ends(row: pd.Series[float], scale: Scale) -> str:
    """The model with the highest score and that with the lowest."""
    high, low = f"{row.idxmax()} {scale.words(float(row.max()))}", f"{row.idxmin()} {scale.words(float(row.min()))}"
    return f"{high}; {low}"


def _falls(
    group: FigureData, ident: str, clean: pd.DataFrame, corrupted: Sequence[Corrupted], scale: Scale
) -> Iterator[HardCase]:
    """Of each corruption, at the highest severity that was evaluated, the case that loses most."""
    scores: dict[str, dict[int, dict[str, pd.Series[float]]]] = {}
    for results, of in zip(group.results, corrupted, strict=True):
        for condition, each in of.items():
            by_severity = scores.setdefault(condition.corruption, {})
            one = replace(group, results=(each,))
            by_severity.setdefault(condition.severity, {})[results.first.spec.model] = _by_case(one, each)
    for corruption, by_severity in scores.items():
        severity = max(by_severity)
        after = pd.DataFrame(by_severity[severity])
        before = clean[after.columns]
        loss = (before - after).mul(scale.sign).mean(axis=1).dropna()
        if len(loss) and loss.max() > _SAME:
            case = str(loss.idxmax())
            title = CORRUPTIONS[corruption].title if corruption in CORRUPTIONS else corruption
            high, low = (scale.words(float(np.nanmean(of.loc[[case]].to_numpy()))) for of in (before, after))
            fall = f"from {high} to {low}"
            yield _case(ident, case, f"{title}, severity {severity}: {fall}")
