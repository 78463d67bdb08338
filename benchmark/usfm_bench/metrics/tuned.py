"""Definitions of classification metrics after something was chosen on validation data."""

from __future__ import annotations

from dataclasses import replace

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.classification import BRIER, ECE, ECE_CHANCE, ECE_DEBIASED, binary_definition
from usfm_bench.metrics.definitions import FAMILIES, Definition, define
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


def _after_temperature(base: Definition) -> Definition:
    return define(
        replace(
            base,
            name=f"{base.name}_T",
            id=base.id.replace("@", ".temperature@"),
            formula=f"{base.formula}; of softmax(logits / T), T fitted on validation cases",
            source="Guo et al. (2017), arXiv:1706.04599",
            primary=False,
            tuned="temperature",
            base=base.id,
        )
    )


_FREE = (ECE_CHANCE, ECE_DEBIASED)
SCALED = {base.id: _after_temperature(base) for base in (ECE, *_FREE, BRIER)}
"""Id -> the same after temperature scaling."""
BESIDE = {
    ECE.id: (*_FREE, *(SCALED[base.id] for base in (ECE, *_FREE))),
    BRIER.id: (SCALED[BRIER.id],),
}
"""Id of a primary definition -> those that reports show behind it."""
