"""`data add`: from a folder of somebody's own images to a registry entry that `run` can use."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from usfm_bench.config import SplitSpec
from usfm_bench.data.archive import unpack
from usfm_bench.data.checks import contradictions, mask_values
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.folder_names import are_known_classes, order_classes, positive_class, suggest_patients
from usfm_bench.data.found_files import Files, absolute_path, look_at
from usfm_bench.data.guess import GUESSED, WITH_PATIENT, Trial, guess
from usfm_bench.data.mask_likeness import unlikely_masks
from usfm_bench.data.readers.masks_options import PatientRegex
from usfm_bench.data.registry_file import append_entry, check_new_name, registry_for
from usfm_bench.data.spec import DatasetSpec, Task
from usfm_bench.data.splits import split_dataset
from usfm_bench.errors import BenchError, DataError, unknown
from usfm_bench.faults import said

SUITES: dict[Task, str] = {"classification": "clinical-cls", "segmentation": "clinical-seg"}
"""Suites that run on anybody's own images."""
_HELP = "docs/adding.md, 'Your own images'"


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
        raise BenchError(_nothing_fits(request, place, files, trials))
    entry, dataset = _read(request, files, best)
    facts = _facts(files, best, dataset) | {"written to": f"{registry}, entry '{request.name}'"}
    notes = [*_others(best, trials), *_notes(best, dataset)]
    spec = append_entry(registry, request.name, entry)  # last: whatever fails before leaves nothing behind
    return Added(facts, tuple(notes), tuple(_commands(spec, request, registry)))


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
    spec = DatasetSpec(name=request.name, **{**entry, "tasks": entry["tasks"] or best.candidate.tasks})
    try:
        dataset = open_dataset(spec, request.data_root)
    except DataError as error:
        hint = _hint(str(error), best)
        raise DataError(f"{error}\nRead as {_words(best)}. Nothing was written. {hint}") from None
    if not entry["tasks"]:
        raise BenchError(_untrainable(len(best.cases), files, {case.label for case in best.cases} - {None}))
    for task in entry["tasks"]:
        split_dataset(dataset, SplitSpec(), 0, task=task)
    return entry, dataset


def _entry(request: Request, best: Trial) -> dict[str, Any]:
    candidate = best.candidate
    labels = {case.label for case in best.cases if case.label is not None}
    labelled = len(labels) > 1 and all(case.label is not None for case in best.cases)
    tasks = [t for t in candidate.tasks if t == "segmentation" or labelled]
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


def _words(trial: Trial) -> str:
    options = ", ".join(f"{key}: {value}" for key, value in trial.candidate.options.items())
    return f"layout '{trial.candidate.layout}' ({trial.candidate.reason}{'; ' + options if options else ''})"


def _hint(faults: str, best: Trial) -> str:
    if "has no mask file" in faults:
        return "If images without a mask show no lesion, say --no-mask empty."
    if best.candidate.layout == "manifest" and "missing; found" in faults:
        return f"Rename the columns, or give the folder of images with the table in it ({_HELP})."
    return f"Mend the files, or choose another reading with --layout; {_HELP}, shows all."


def _nothing_fits(request: Request, place: Path, files: Files, trials: Sequence[Trial]) -> str:
    asked = f" in layout '{request.layout}'" if request.layout else ""
    if not trials and not asked and files.images and files.mask_share < 0.5:
        return "\n".join([*files.faults, _untrainable(len(files.images), files, set())])
    lines = [*files.faults, f"{place}: {len(files.pictures)} images, and no reading{asked} fits."]
    if request.patient:
        lines.append(f"--patient is for the layouts {', '.join(WITH_PATIENT)}; a list has a column `patient`.")
    for trial in trials:
        more = f" (and {len(trial.faults) - 1} more)" if len(trial.faults) > 1 else ""
        lines.append(f"Tried {_words(trial)}: {trial.faults[0]}{more}")
    return "\n".join([*lines, *(() if trials else _missed(files)), _GO_ON])


def _missed(files: Files) -> list[str]:
    """What each kind of reading lacks, for a folder that none was tried on."""
    share = f"{100 * files.mask_share:.0f} % of a sample of the image files look like masks"
    return [
        "manifest: no .csv or .parquet with a column `path` in the folder.",
        "usfm, hc18, camus, busi: no folders or files of the published names.",
        f"masks: no two groups of files whose names differ in one folder or word, one of them masks ({share}).",
        f"imagefolder, dicom: no folders that could be classes, or {share}.",
    ]


_GO_ON = (
    "To go on: write a list.csv with columns path, label, and where known patient and mask, and give it to `data add`; "
    f"or write an entry of layout `masks` with patterns for your file names ({_HELP})."
)


def _untrainable(n: int, files: Files, labels: set[str | None]) -> str:
    alone = sorted(filter(None, labels)) or [name for name in [files.root.name] if not _has_folders(files)]
    one = f"One class alone ('{alone[0]}') cannot be learned. " if labels else ""
    folder = "" if labels or not alone else f", all in one folder ('{alone[0]}')"
    return (
        f"{files.root}: {n} images{folder}, but no masks and no two classes: nothing to train for. {one}They could "
        "serve for pre-training only. For classification, put each class into a folder of its own or give a list with "
        f"a column `label`; for segmentation, add masks. {_HELP}, shows both."
    )


def _has_folders(files: Files) -> bool:
    return any("/" in name for name in files.images)


def _facts(files: Files, best: Trial, dataset: Dataset) -> dict[str, Any]:
    cases = [sample.case for sample in dataset.samples]
    masks = sum(bool(s.case.masks) or (s.mask is not None and bool(s.mask.any())) for s in dataset.samples)
    known = sum(sample.spacing is not None for sample in dataset.samples)
    sides = Counter(case.split for case in cases if case.split)
    return {
        "data set": dataset.spec.name,
        "read as": f"layout {best.candidate.layout}: {best.candidate.reason}",
        "options": best.candidate.options,
        "images": len(cases),
        "by class": _by_class(dataset),
        "positive class": dataset.spec.positive,
        "with masks": masks if "segmentation" in dataset.spec.tasks else None,
        **mask_values([path for case in cases for path in case.masks]),
        "explained by nothing": _unexplained(files, best),
        "patients": len({case.patient for case in cases if case.patient}) or None,
        "groups": len(set(dataset.groups)),
        "prescribed split": {side: sides[side] for side in ("train", "val", "test") if sides[side]},
        "pixel spacing": f"known for {known} of {len(cases)}" if known else "not known; distances would be in pixels",
    }


def _by_class(dataset: Dataset) -> dict[str, int]:
    counts = Counter(sample.case.label for sample in dataset.samples if sample.case.label is not None)
    return {name: counts[name] for name in dataset.classes}


def _unexplained(files: Files, best: Trial, most: int = 5) -> dict[str, Any]:
    left = sorted(name for name, path in files.pictures.items() if absolute_path(path) not in best.explained)
    return {"files": len(left), "such as": ", ".join(left[:most])} if left else {}


def _others(best: Trial, trials: Sequence[Trial]) -> list[str]:
    """Readings of the same layout that explain as many files."""
    ties = [t for t in trials if t.worth == best.worth and t.candidate.layout == best.candidate.layout]
    return [
        f"could as well be read as {_words(trial)}"
        for trial in ties
        if trial.candidate.options != best.candidate.options
    ]


def _notes(best: Trial, dataset: Dataset) -> list[str]:
    cases = [sample.case for sample in dataset.samples]
    notes = [*dataset.notes, *contradictions(dataset.samples), *unlikely_masks(dataset.samples).say()]
    if best.candidate.layout == "imagefolder" and not are_known_classes(dataset.classes):
        notes.append(
            f"each of these folders is taken for a class: {', '.join(dataset.classes)}. If they are patients, delete "
            "the entry: their names would stand in every table. A list with columns path, label and patient tells both."
        )
    if best.candidate.options.get("values") == "nonzero":
        notes.append(
            "masks have levels other than black and white, and all but 0 count as the lesion; where they are several "
            "structures, choose some in the entry, such as `values: {equals: [1]}`"
        )
    if not any(case.patient for case in cases):
        notes.append(
            "no patient is known: images are grouped only where their pixels are equal, so that a patient may be on "
            "two sides of a split. Say --patient REGEX, or give a list with a column `patient`."
        )
        found = suggest_patients([case.case_id for case in cases])
        if found and best.candidate.layout in WITH_PATIENT:
            first = Path(cases[0].case_id).name
            notes.append(
                f"if '{found.example}' in '{first}' is the patient ({found.patients} in all), delete the entry and add "
                f"it again with --patient {shlex.quote(found.expression)}"
            )
    return [note for note in notes if not note.startswith("found ")]


def _commands(spec: DatasetSpec, request: Request, registry: Path) -> list[str]:
    """`run` for each task, quoted for a shell; places are said where they are not the defaults."""
    root = [] if request.data_root == Path("data") else ["--data-root", str(request.data_root)]
    file = [] if registry == Path("datasets.yaml") else ["--registry", str(registry)]
    return [
        shlex.join(
            ["usfm-bench", "run", "--suite", SUITES[t], "--datasets", spec.name, "--profile", "smoke", *root, *file]
        )
        for t in spec.tasks
    ]
