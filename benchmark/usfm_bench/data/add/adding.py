"""`data add`: from a folder of somebody's own images to a registry entry that `run` can use."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from usfm_bench.core.errors import BenchError, DataError, unknown
from usfm_bench.core.validation import said
from usfm_bench.data.add.archive import unpack
from usfm_bench.data.add.doubts import contradicting, doubts
from usfm_bench.data.add.folder_names import order_classes, positive_class
from usfm_bench.data.add.found_files import Files, absolute_path, look_at
from usfm_bench.data.add.guess import GUESSED, WITH_PATIENT, Trial, guess
from usfm_bench.data.add.known_images import recognise, regroup
from usfm_bench.data.add.refusals import beside_pictures, capped, deeper, hint, in_words, nothing_fits, untrainable
from usfm_bench.data.add.registry_file import append_entry, check_new_name, registry_for
from usfm_bench.data.add.report import facts_of, left_over, notes_of
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.mask_likeness import is_mask
from usfm_bench.data.readers.masks_options import PatientRegex
from usfm_bench.data.splits import split_dataset
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.task import TASKS, tasks_for


@dataclass(frozen=True)
class Request:
    """What the user asks for."""

    name: str
    place: Path
    """Folder, .zip or list."""
    data_root: Path
    registry: Path | None = None
    layout: str | None = None
    patient: str | None = None
    no_mask: str | None = None
    organ: str = "not stated"


@dataclass(frozen=True)
class Added:
    """What was found and written."""

    facts: dict[str, Any]
    notes: tuple[str, ...]
    """What the user should know or decide."""
    commands: tuple[str, ...]
    """What to run next, ready for a shell."""


def add_dataset(request: Request) -> Added:
    """Guess the layout, read every file, and write the entry.

    Raises:
        BenchError: every fault; nothing was written, and an archive that was unpacked is removed again.
    """
    registry = registry_for(request.registry)
    _check(request, registry)
    if request.place.suffix.lower() != ".zip" or not request.place.is_file():
        return _add_folder(request, request.place, registry)
    target = request.data_root / request.name
    unpack(request.place, target)
    try:
        return _add_folder(request, target, registry)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, BenchError):
            raise BenchError(f"{error}\n'{target}' was unpacked for this alone, and is removed again.") from None
        raise


def _check(request: Request, registry: Path) -> None:
    check_new_name(request.name, registry)
    if request.layout not in (None, *GUESSED):
        raise unknown("layout", str(request.layout), GUESSED)
    if request.patient and request.layout not in (None, *WITH_PATIENT):
        raise BenchError(f"Layout '{request.layout}' has no option `patient`; {', '.join(WITH_PATIENT)} have.")
    try:
        TypeAdapter(PatientRegex).validate_python(request.patient)
    except ValidationError as error:
        raise BenchError(f"--patient '{request.patient}': {said(error.errors()[0])}") from None


def _add_folder(request: Request, place: Path, registry: Path) -> Added:
    files = look_at(place)
    path_of = _paths_below(request.data_root)
    only = {"layout": request.layout, "patient": request.patient, "no_mask": request.no_mask}
    trials = guess(files, request.name, path_of, request.data_root, **only)
    best = next((trial for trial in trials if trial.cases or len(trials) == 1), None)
    if best is None:
        asked = {"layout": request.layout, "patient": request.patient}
        raise BenchError(nothing_fits(request.name, place, files, trials, **asked))
    entry, dataset = _read(request, files, best)
    facts = facts_of(files, best, dataset) | {"written to": f"{registry}, entry '{request.name}'"}
    notes = notes_of(files, best, trials, dataset)
    spec = append_entry(registry, request.name, entry)  # last: whatever fails before leaves nothing behind
    return Added(facts, notes, tuple(_commands(spec, request, registry)))


def _paths_below(data_root: Path) -> Any:
    """How an entry names a folder: relative to the data root where it lies within, else absolute."""

    def path_of(place: Path) -> str:
        absolute, root = Path(absolute_path(place)), Path(absolute_path(data_root))
        return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)

    return path_of


def _read(request: Request, files: Files, best: Trial) -> tuple[dict[str, Any], Dataset]:
    """The entry, and the data set that it opens; each task in it has been given a split.

    Raises:
        DataError: faults of files, or no task that the images can be used for.
    """
    entry = _entry(request, best)
    # An entry needs a task; where there is none, the faults of the files come first.
    spec = DatasetSpec(name=request.name, **{**entry, "tasks": entry["tasks"] or tasks_for(best.candidate.gives)})
    try:
        dataset = open_dataset(spec, request.data_root)
    except DataError as error:
        advice = hint(str(error), best)
        faults = capped(str(error).split("\n"))
        raise DataError(f"{faults}\nRead as {in_words(best)}. Nothing was written. {advice}") from None
    left = left_over(files, best)
    wrong = doubts(dataset, left, {name: is_mask(files.pictures[name]) for name in left})
    if entry["tasks"] and wrong:
        told = [*wrong, f"Read as {in_words(best)}. Nothing was written.", *deeper(request.name, files)]
        raise DataError("\n".join(told))
    if not entry["tasks"]:
        labels = {case.label for case in best.cases} - {None}
        raise BenchError("\n".join([untrainable(len(best.cases), files, labels), *beside_pictures(files)]))
    entry, dataset = _with_known(entry, dataset)
    for task in entry["tasks"]:
        split_dataset(dataset, SplitSpec(), 0, task=task)
    return entry, dataset


def _with_known(entry: dict[str, Any], dataset: Dataset) -> tuple[dict[str, Any], Dataset]:
    """The entry with what the pixels tell: groups of a known data set, and images under two labels, which go."""
    known, exclude = recognise(dataset.samples), contradicting(dataset.samples)
    more = ({"groups": known.groups} if known else {}) | ({"exclude": exclude} if exclude else {})
    return entry | more, regroup(dataset, known and known.groups, exclude) if more else dataset


def _entry(request: Request, best: Trial) -> dict[str, Any]:
    candidate = best.candidate
    labels = {case.label for case in best.cases if case.label is not None}
    labelled = len(labels) > 1 and all(case.label is not None for case in best.cases)
    tasks = list(tasks_for([need for need in candidate.gives if need != "label" or labelled]))
    classes = order_classes(labels) if labelled else ()
    positive = positive_class(classes)
    return {
        "version": 1,
        "title": f"Own images, {request.name}",
        "tasks": tasks,
        "organ": request.organ,
        "layout": candidate.layout,
        "path": best.spec.path,
        **({"classes": list(classes)} if classes else {}),
        **({"positive": positive} if positive else {}),
        "n_images": len(best.cases),
        "licence": "yours; not stated",
        **({"options": candidate.options} if candidate.options else {}),
    }


def _commands(spec: DatasetSpec, request: Request, registry: Path) -> list[str]:
    """`run` for each task, quoted for a shell; places are said where they are not the defaults."""
    root = [] if request.data_root == Path("data") else ["--data-root", str(request.data_root)]
    file = [] if registry == Path("datasets.yaml") else ["--registry", str(registry)]
    return [
        shlex.join(
            [
                "usfm-bench",
                "run",
                "--suite",
                TASKS[t].own_suite,
                "--datasets",
                spec.name,
                "--profile",
                "smoke",
                *root,
                *file,
            ]
        )
        for t in spec.tasks
    ]
