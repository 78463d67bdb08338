"""Guesses the layout of a folder of images: candidates by names and pixels, each verified by the reader itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.add.folder_names import are_numbered, are_sides, folder_roles, is_no_class
from usfm_bench.data.add.found_files import TABLES, Files, absolute_path
from usfm_bench.data.add.guess_outlines import LAYOUTS, readings
from usfm_bench.data.add.guess_pairs import FilePair, ending, find_pairs, other_masks, patterns
from usfm_bench.data.add.guess_quality import quality_pairs
from usfm_bench.data.add.guess_tables import label_tables, read_raw
from usfm_bench.data.add.side_folders import View, sides_named, view_sides
from usfm_bench.data.dataset import decode, open_reader
from usfm_bench.data.mask_likeness import guess_values, spread
from usfm_bench.data.readers.usfm import SETS
from usfm_bench.data.sample import Case
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.task import Need, tasks_for

_BUSI = re.compile(r"[^/]+/[^/]+\)_mask(_\d+)?\.png", re.IGNORECASE)
_CAMUS = re.compile(r"patient\d+_[24]CH_(ED|ES)\.(mhd|nii|nii\.gz)", re.IGNORECASE)
_HC18 = "training_set_pixel_size_and_hc.csv"
_SAMPLE = 20
_FEW_MASKS = 0.1
_WITHOUT_OPTIONS = ("imagefolder", "usfm", "hc18", "camus", *LAYOUTS[1:])
GUESSED = ("manifest", "usfm", "hc18", "camus", "busi", "pairs", "masks", "dicom", "volumes", "imagefolder", *LAYOUTS)
"""Layouts that lie on disk."""
WITH_PATIENT = ("pairs", "masks", "dicom", "usfm", "imagefolder", "volumes", *LAYOUTS[:3])
"""Layouts whose option `patient` finds patients in paths."""
WITH_NO_MASK = ("masks", "dicom", "volumes")


@dataclass(frozen=True)
class Candidate:
    """One reading of the files."""

    layout: str
    reason: str
    """In words, what speaks for it."""
    gives: tuple[Need, ...] = ("label",)
    """What every case has by it."""
    options: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    file: str = ""
    """Of a list: its name, relative to the folder."""


class Trial(NamedTuple):
    """A candidate as the reader sees it."""

    candidate: Candidate
    spec: DatasetSpec
    cases: list[Case]
    explained: set[str]
    """Absolute paths of the files that are images or masks of a case."""
    faults: list[str]

    @property
    def worth(self) -> tuple[bool, int, bool, bool, bool]:
        """Fewer faults than files first, then by files explained, then by what is known of the cases.

        Classes come first: the rest is of no use without a task. Patients come before sides.
        """
        told = [any(facts) for facts in zip(*((c.label, c.patient, c.split) for c in self.cases), strict=True)]
        label, patient, split = told or (False, False, False)
        return not self.faults, len(self.explained) - len(self.faults), label, patient, split


def guess(files: Files, name: str, path_of: Callable[[Path], str], data_root: Path, **only: Any) -> list[Trial]:
    """Every candidate, verified, the best first.

    Args:
        files: what lies there.
        name: of the data set.
        path_of: the entry's `path` for a folder or file.
        data_root: what that path is relative to.
        only: see `candidates`.
    """
    trials = [_try(candidate, files, name, path_of, data_root) for candidate in candidates(files, **only)]
    return sorted(trials, key=lambda trial: trial.worth, reverse=True)


def candidates(
    files: Files, *, layout: str | None = None, patient: str | None = None, no_mask: str | None = None
) -> list[Candidate]:
    """All readings of a folder in the order in which they win ties.

    Args:
        files: what lies there.
        layout: only readings in this layout.
        patient: regular expression, written into the options; layouts without that option are passed over.
        no_mask: the same, for candidates that have masks.
    """
    found = []
    for candidate in (each for guesser in GUESSERS for each in guesser(files)):
        if layout not in (None, candidate.layout) or (patient and candidate.layout not in WITH_PATIENT):
            continue
        if no_mask and "mask" in candidate.gives and candidate.layout not in WITH_NO_MASK:
            continue
        more = {"patient": patient} if patient else {}
        if no_mask and candidate.options.get("masks"):
            more["no_mask"] = no_mask
        found.append(replace(candidate, options=candidate.options | more))
    if not found and layout in _WITHOUT_OPTIONS:  # its reader says best what is missing
        gives: tuple[Need, ...] = ("label",) if layout == "imagefolder" else ("mask",)
        found.append(Candidate(layout, "as asked for", gives, {"patient": patient} if patient else {}))
    return found


def _try(candidate: Candidate, files: Files, name: str, path_of: Callable[[Path], str], data_root: Path) -> Trial:
    facts = {"version": 1, "title": name, "organ": "not stated", "path": path_of(files.root / candidate.file)}
    read = {"tasks": tasks_for(candidate.gives), "layout": candidate.layout, "options": candidate.options}
    spec = DatasetSpec(name=name, classes=candidate.classes, **facts, **read)  # type: ignore[arg-type]
    try:
        reader = open_reader(spec, data_root)
        cases = reader.cases()
        _, faults = decode(reader, _sample(cases))
    except DataError as error:
        return Trial(candidate, spec, [], set(), str(error).split("\n"))
    except BenchError as error:  # a package that reads the format is not installed
        return Trial(candidate, spec, [], set(), [str(error)])
    explained = {absolute_path(path) for case in cases for path in (case.image, *case.masks) if path is not None}
    explained |= {absolute_path(path) for path in getattr(reader, "partners", ())}  # good images of the layout `pairs`
    return Trial(candidate, spec, cases, explained, [*reader.faults, *faults])


def _sample(cases: Sequence[Case]) -> list[Case]:
    """About twenty cases, spread over the classes."""
    by_label: dict[str | None, list[Case]] = {}
    for case in cases:
        by_label.setdefault(case.label, []).append(case)
    each = max(1, _SAMPLE // max(1, len(by_label)))
    return [case for some in by_label.values() for case in spread(some, each)]


# ---- the guessers, in the order in which they win ties ---------------------------------------------------------------


def _lists(files: Files) -> Iterator[Candidate]:
    for name in (name for name in files.tables if Path(name).suffix.lower() in TABLES):
        table = read_raw(files.all[name])
        if table is None or "path" not in table:
            if table is None or len(files.all) == 1:  # its reader says best what is wrong with it
                yield Candidate("manifest", "the list given", file=name)
            continue
        gives: list[Need] = ["label"] if "label" in table else []
        masks = table["mask"].astype(str).str.strip() if "mask" in table else pd.Series(dtype=str)
        if len(masks) and (masks != "").all():
            gives = ["mask", *gives]
        values = guess_values([files.root / mask for mask in masks]) if "mask" in gives else {}
        reason = f"'{name}' is a list with a column `path`"
        yield Candidate("manifest", reason, tuple(gives or ["label"]), values, file=name)


def _usfm(files: Files) -> Iterator[Candidate]:
    tops = {name.split("/")[0] for name in files.images}
    if not tops & set(SETS):
        return
    reason = f"folders called {', '.join(sorted(tops & set(SETS)))}"
    masks = [path for name, path in files.images.items() if name.split("/")[1:2] == ["mask"]]
    if masks:
        yield Candidate("usfm", reason + " with image and mask", ("mask",), guess_values(masks))
    else:
        yield Candidate("usfm", reason + " with class folders")


def _published(files: Files) -> Iterator[Candidate]:
    names = [PurePosixPath(name).name for name in files.all]
    if any(name.lower() == _HC18 for name in names):
        yield Candidate("hc18", f"HC18's list '{_HC18}'", ("mask",))
    if any(_CAMUS.fullmatch(name) for name in names):
        yield Candidate("camus", "CAMUS' file names (patient0001_4CH_ED)", ("mask",))
    if any(_BUSI.fullmatch(name) for name in files.images):
        classes = tuple(sorted({name.split("/")[0] for name in files.images}))
        reason = "BUSI's file names ('benign (1).png', 'benign (1)_mask.png')"
        yield Candidate("busi", reason, ("mask", "label"), classes=classes)


def _outlines(files: Files) -> Iterator[Candidate]:
    yield from (Candidate(*reading) for reading in readings(files.all))


def _quality(files: Files) -> Iterator[Candidate]:
    for pair in quality_pairs(files.images):
        reason = f"files like '{pair.low_names[0]}' and '{pair.high_names[0]}' show one view in low and in high quality"
        yield Candidate("pairs", reason, ("pair",), {"images": pair.low, "good": pair.high})


def _pairs(files: Files) -> Iterator[Candidate]:
    for pictures in (files.images | files.dicom, files.volumes):
        view = view_sides(list(pictures))
        for pair in find_pairs(view.files(pictures)):
            yield from _of_pair(files, pair, view)


def _of_pair(files: Files, pair: FilePair, view: View) -> Iterator[Candidate]:
    images, masks = map(view.on_disk, patterns(pair))
    names, mask_names = ([view.names[name] for name in side] for side in (pair.images, pair.masks))
    layout = "dicom" if {*names} <= {*files.dicom} else "volumes" if {*names} <= {*files.volumes} else "masks"
    options = {"images": images, "masks": masks} | _ignored(pair, view.files(files.all), images)
    options |= guess_values([files.all[name] for name in mask_names])
    reason = f"files like '{mask_names[0]}' have few grey levels and belong to files like '{names[0]}'"
    for table in label_tables(files, images, names):
        labels: tuple[Need, ...] = ("label",) if table.label or "{label}" in images else ()
        yield Candidate(layout, reason, ("mask", *labels), options | {"label_from": table.options})
    classes: tuple[Need, ...] = ("label",) if "{label}" in images else ()
    yield Candidate(layout, reason, ("mask", *classes), options)


def _ignored(pair: FilePair, files: dict[str, Path], images: str) -> dict[str, Any]:
    """Option `ignore` for what looks like a mask and would be an image."""
    found = other_masks(files, pair)
    stem = images.removesuffix(ending(pair.images))
    return {"ignore": [f"{stem}{word}{ending(names)}" for word, names in sorted(found.items())]} if found else {}


def _label_folders(files: Files) -> Iterator[Candidate]:
    """Images without masks, in folders that say class, and perhaps side and patient; or beside a table of labels."""
    if files.images and (files.mask_share > _FEW_MASKS or any(quality_pairs(files.images))):
        return
    for layout, names in (("dicom", [*files.dicom]), ("volumes", [*files.volumes]), ("masks", [*files.images])):
        if not names:
            continue
        view = view_sides(names)
        roles = folder_roles([PurePosixPath(name).parts[:-1] for name in view.names])
        pattern = view.on_disk("/".join([*roles, "{id}" if layout == "dicom" else "{id}" + ending(names)]))
        for table in label_tables(files, pattern, names):
            if table.label or "{label}" in roles:
                options = {"images": pattern, "label_from": table.options}
                yield Candidate(layout, f"a table beside the images ({table.options['file']})", options=options)
        if "{label}" not in roles:
            continue
        if layout == "masks" and roles[0] == "{label}" and not {"{split}", "{patient}"} & set(roles):
            yield Candidate("imagefolder", "one folder a class")
        yield Candidate(layout, f"folders that read as {'/'.join(roles)}", options={"images": pattern})


def _class_folders(files: Files) -> Iterator[Candidate]:
    """The last resort: whatever lies in several folders, each a class, which are not the sides of a split."""
    tops = {name.split("/")[0] for name in files.images if "/" in name}
    paired = any(quality_pairs(files.images))
    if len(tops) > 1 and files.mask_share <= _FEW_MASKS and not _say_no_class(tops) and not paired:
        yield Candidate("imagefolder", "one folder a class")


def _say_no_class(folders: set[str]) -> bool:
    return are_sides(folders) or are_numbered(folders) or any(map(is_no_class, folders)) or bool(sides_named(folders))


GUESSERS = (_lists, _usfm, _published, _outlines, _quality, _pairs, _label_folders, _class_folders)
