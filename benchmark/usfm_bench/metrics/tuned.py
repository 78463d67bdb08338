"""Definitions of classification metrics after something was chosen on validation data."""

from __future__ import annotations

from dataclasses import replace

from usfm_bench.errors import BenchError
from usfm_bench.metrics.classification import binary_definition
from usfm_bench.metrics.definitions import DEFINITIONS, FAMILIES, Definition, define
from usfm_bench.metrics.operating import RULES, VERSION

DECIDED = ("SEN", "SPEC", "PREC", "F1", "BACC")
"""Metrics of decisions by a threshold."""


def decided_definition(metric: str, positive: str, rule: str) -> Definition:
    """A metric of the class `positive`, decided by a threshold that validation chose.

    >>> found = decided_definition("SEN", "malignant", "spec90")
    >>> found.name, found.id, found.base
    ('SEN@SPEC90', 'sen.binary[malignant].val_spec90@2', 'sen.binary[malignant]@1')

    Raises:
        BenchError: the metric is not one of decisions.
    """
    if metric not in DECIDED:
        raise BenchError(f"{metric} is no metric of decisions; {', '.join(DECIDED)} are.")
    base = binary_definition(metric, positive)
    return replace(
        base,
        name=f"{metric}@{rule.upper()}",
        id=f"{base.id.rpartition('@')[0]}.val_{rule}@{VERSION}",
        formula=f"{base.formula}; by the threshold chosen on validation cases for {RULES[rule]}",
        tuned=rule,
        base=base.id,
    )


FAMILIES[rf"(\w+)\.binary\[(.+)\]\.val_({'|'.join(RULES)})@{VERSION}"] = lambda match: decided_definition(
    match[1].upper(), match[2], match[3]
)


def _after_temperature(ident: str) -> Definition:
    base = DEFINITIONS[ident]
    return define(
        replace(
            base,
            name=f"{base.name}_T",
            id=ident.replace("@", ".temperature@"),
            formula=f"{base.formula}; of softmax(logits / T), T fitted on validation cases",
            source="Guo et al. (2017), arXiv:1706.04599",
            primary=False,
            tuned="temperature",
            base=ident,
        )
    )


_ERROR = "ece.top.15bins@1"
_FREE = ("ece.top.15bins.chance@1", "ece.top.15bins.debiased@1")
SCALED = {ident: _after_temperature(ident) for ident in (_ERROR, *_FREE, "brier@1")}
"""Id -> the same after temperature scaling."""
BESIDE = {
    _ERROR: (*(DEFINITIONS[i] for i in _FREE), *(SCALED[i] for i in (_ERROR, *_FREE))),
    "brier@1": (SCALED["brier@1"],),
}
"""Id of a primary definition -> those that reports show behind it."""
