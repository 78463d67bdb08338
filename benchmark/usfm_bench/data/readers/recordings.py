"""Recordings, such as videos of which a data set holds frames, and the table that says whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from usfm_bench.data.alike import alike
from usfm_bench.data.patients import patient_key
from usfm_bench.data.readers.base import Options
from usfm_bench.data.readers.tables import read_columns
from usfm_bench.data.sample import Case
from usfm_bench.specs.dataset import GroupKind


class PatientTable(Options):
    """A table of recordings and their patients, relative to the data set's folder."""

    file: str
    id: str
    """Column of the recording's name."""
    patient: str
    """Column of the patient; empty where it is not known."""
    separator: str | None = None
    """As of a table of labels."""
    corrections: dict[str, str] = Field(default_factory=dict)
    """Recording to patient, where the table is known to be wrong."""


class Told(NamedTuple):
    """Cases with their patients, or else with what stands in for them."""

    cases: list[Case]
    kind: GroupKind
    """`patients` where all of them are known."""
    faults: list[str]
    notes: list[str]


def tell_patients(cases: Sequence[Case], recording: str, tables: Sequence[PatientTable], root: Path) -> Told:
    """Give every case the patient of its recording.

    Of a recording that no table knows, it is the patient that a name says (what `case.patient` is), which may be known
    from another recording; or else the recording itself.

    Raises:
        DataError: a table cannot be read; see `read_columns`.
    """
    matches = {case.case_id: re.search(recording, case.case_id) for case in cases}
    names = {case_id: match[1] for case_id, match in matches.items() if match and match[1]}
    faults = [f"{c.image}: no recording in the path, by '{recording}'." for c in cases if c.case_id not in names]
    table = next((table for table in tables if (root / table.file).is_file()), None)
    owners, notes = _owners(table, root) if table else ({}, [])
    known = {case_id: owners[alike(name)] for case_id, name in names.items() if alike(name) in owners}
    by_name = {case.patient: known[case.case_id] for case in cases if case.patient and case.case_id in known}
    told = [_told(case, known, by_name, names) for case in cases]
    lacking = {names[c.case_id] for c in cases if c.case_id in names and c.case_id not in known}
    return Told(told, "recordings" if lacking else "patients", faults, [*notes, *_lacking(lacking, tables, table)])


def _told(case: Case, known: Mapping[str, str], by_name: Mapping[str, str], names: Mapping[str, str]) -> Case:
    own = known.get(case.case_id) or by_name.get(case.patient or "") or case.patient or names.get(case.case_id)
    return replace(case, patient=own)


def _owners(table: PatientTable, root: Path) -> tuple[dict[str, str], list[str]]:
    """Recording, as `alike` has it, to its patient; and what is wrong with the table, for it is as it was published."""
    notes: list[str] = []
    rows = read_columns(root / table.file, root, (table.id, table.patient), table.separator, uneven=notes)
    owners: dict[str, str] = {}
    same: dict[str, str] = {}
    for name, patient in zip(rows[table.id], rows[table.patient], strict=True):
        if patient_key(patient) is None:
            continue
        first = owners.setdefault(alike(name), patient)
        if patient_key(first) != patient_key(patient):
            same[patient] = first
            notes.append(f"'{name}' has two patients in '{table.file}', {first} and {patient}, taken for one")
    owners |= {alike(name): patient for name, patient in table.corrections.items()}
    return {name: same.get(patient, patient) for name, patient in owners.items()}, notes


def _lacking(lacking: set[str], tables: Sequence[PatientTable], table: PatientTable | None) -> list[str]:
    if not lacking or not tables:
        return []
    files = " or ".join(f"'{each.file}'" for each in tables)
    shown = ", ".join(sorted(lacking)[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
    why = f"have no patient in '{table.file}'" if table else f"have no table of patients beside them ({files})"
    return [f"{len(lacking)} recordings {why}; each is a group, unless its name says the patient: {shown}"]
