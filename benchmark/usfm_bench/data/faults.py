"""What is wrong with a data set, case by case, so that a case that the entry leaves out stops nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from usfm_bench.core.errors import did_you_mean
from usfm_bench.data.sample import Case
from usfm_bench.specs.dataset import DatasetSpec

_SHOWN = 5


class Fault(str):
    """One fault in words, with the ids of the cases that it is about; it falls when one of them is left out."""

    cases: frozenset[str]

    def __new__(cls, text: str, *cases: str) -> Fault:
        """The text alone is what it prints as."""
        fault = super().__new__(cls, text)
        fault.cases = frozenset(cases)
        return fault


def cases_of(fault: str) -> frozenset[str]:
    """Ids of the cases that a fault is about; empty where it is about the data set as a whole."""
    return fault.cases if isinstance(fault, Fault) else frozenset()


def standing(faults: Iterable[str], spec: DatasetSpec) -> list[str]:
    """The faults without those of cases that the entry leaves out by name (`exclude`)."""
    return [fault for fault in faults if not cases_of(fault) & spec.exclude.keys()]


def strange_exclusions(spec: DatasetSpec, found: Sequence[Case], faults: Iterable[str]) -> list[str]:
    """Which names under `exclude` are no case that was found, in words, with the nearest that was.

    Nothing of a partial copy, which has fewer images than are published: the names may be of those that it lacks.
    """
    if spec.n_images is not None and len(found) < spec.n_images:
        return []
    known = {case.case_id for case in found}.union(*map(cases_of, faults))
    lost = [name for name in spec.exclude if name not in known]
    notes = [f"exclude names '{name}', which is no case here.{did_you_mean(name, known)}" for name in lost[:_SHOWN]]
    return notes + [f"exclude names {len(lost) - _SHOWN} more that are no case here"] * (len(lost) > _SHOWN)
