"""Patients as data sets write them: who is the same, and who is not known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from usfm_bench.data.alike import alike, tidy
from usfm_bench.data.sample import Case

_SHOWN = 5
_UNKNOWN = {"", "na", "n/a", "#n/a", "nan", "nil", "none", "null", "unknown", "unk", "missing", "notavailable"} | {
    *("notknown", "notgiven", "notstated", "anonymous", "anonym", "anon", "anonymised", "anonymized", "?", "-", "--"),
}
"""What tables write where they do not know, as `alike` has it."""


def patient_key(patient: str | None) -> str | None:
    """Equal for one patient written in several ways; None where it is not known who it is.

    >>> patient_key("P01") == patient_key("p01 "), patient_key("7.0"), patient_key("N/A")
    (True, '7', None)
    """
    key = alike(patient or "")
    if key in _UNKNOWN:
        return None
    return re.sub(r"(\d+)\.0+", r"\1", key) if re.fullmatch(r"\d+\.0+", key) else key  # as spreadsheets write 7


def patient_faults(cases: Sequence[Case]) -> list[str]:
    """Cases whose patient is not known, where that of others is: no split could be told from one that leaks."""
    unknown: dict[str, list[str]] = {}
    for case in cases:
        if case.patient is not None and patient_key(case.patient) is None:
            unknown.setdefault(case.patient, []).append(case.case_id)
    if not any(patient_key(case.patient) for case in cases):
        return []
    return [
        f"{len(ids)} cases have the patient '{name}', which is nobody: {_listed(ids)}. Write who it is, or a name of "
        "its own for each, or leave them out with `exclude`."
        for name, ids in unknown.items()
    ]


def patient_notes(cases: Sequence[Case]) -> list[str]:
    """Who was taken for one patient, or for two, though the names are nearly the same."""
    return list(_notes([case.patient for case in cases if case.patient is not None]))


def _notes(patients: Sequence[str]) -> Iterator[str]:
    if patients and not any(map(patient_key, patients)):
        yield f"no patients are known: theirs is {_listed(sorted(map(repr, set(patients))))} throughout"
        return
    counts = Counter(filter(None, map(patient_key, patients)))
    written: dict[str, set[str]] = {}
    for patient in patients:
        if key := patient_key(patient):
            written.setdefault(key, set()).add(tidy(patient))
    if same := [" and ".join(map(repr, sorted(names))) for names in written.values() if len(names) > 1]:
        yield f"taken for one patient, since case, spaces or a '.0' alone differ: {_listed(same)}"
    numbers: dict[str, list[str]] = {}
    for key in sorted(counts):
        numbers.setdefault(re.sub(r"(?<!\d)0+(?=\d)", "", key), []).append(key)
    if zeros := [" and ".join(map(repr, names)) for names in numbers.values() if len(names) > 1]:
        yield f"taken for several patients; write them alike if they are one: {_listed(zeros)}"
    most = max((n for key, n in counts.items() if key != "0"), default=0)
    if counts["0"] > max(2, 2 * most):
        yield f"the patient '0' has {counts['0']} images, others {most} at most: is it one patient, or not known?"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
