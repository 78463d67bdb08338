"""What `data add` found: facts, and notes on what the user should know or decide."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from usfm_bench.data.add.file_kinds import advise, by_kind, shown
from usfm_bench.data.add.folder_names import are_known_classes, names_images, names_masks, suggest_patients
from usfm_bench.data.add.found_files import Files, absolute_path
from usfm_bench.data.add.guess import WITH_PATIENT, Trial
from usfm_bench.data.add.known_images import loose_pairs, recognise
from usfm_bench.data.add.refusals import in_words
from usfm_bench.data.audit.verify import mask_values
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.mask_likeness import cannot_be_lesion


def facts_of(files: Files, best: Trial, dataset: Dataset) -> dict[str, Any]:
    """What was found, by name, as `data add` prints it."""
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
        "with masks": masks if dataset.spec.needs("mask") else None,
        **mask_values([path for case in cases for path in case.masks]),
        "explained by nothing": _unexplained(files, best),
        "other files": _beside(files, best),
        "left out": len(dataset.spec.exclude) or None,
        "patients": len({case.patient for case in cases if case.patient}) or None,
        "groups": len(set(dataset.groups)),
        "prescribed split": {side: sides[side] for side in ("train", "val", "test") if sides[side]},
        "pixel spacing": f"known for {known} of {len(cases)}" if known else "not known; distances would be in pixels",
    }


def _by_class(dataset: Dataset) -> dict[str, int]:
    counts = Counter(sample.case.label for sample in dataset.samples if sample.case.label is not None)
    return {name: counts[name] for name in dataset.classes}


def left_over(files: Files, best: Trial) -> list[str]:
    """Names of pictures that are no image or mask of any case."""
    return sorted(name for name, path in files.pictures.items() if absolute_path(path) not in best.explained)


def _unexplained(files: Files, best: Trial) -> dict[str, Any]:
    left = left_over(files, best)
    return {"files": len(left), "such as": shown(left, 5)} if left else {}


def _beside(files: Files, best: Trial) -> dict[str, str]:
    """Files that are no pictures and that the reading does not use, by kind."""
    used = {best.candidate.file, best.candidate.options.get("label_from", {}).get("file")}
    return by_kind([*files.others, *(name for name in files.tables if name not in used)])


def _others(best: Trial, trials: Sequence[Trial]) -> list[str]:
    """Readings of the same layout that explain as many files."""
    ties = [t for t in trials if t.worth == best.worth and t.candidate.layout == best.candidate.layout]
    others = [trial for trial in ties if trial.candidate.options != best.candidate.options]
    return [f"could as well be read as {in_words(trial)}" for trial in others]


def notes_of(files: Files, best: Trial, trials: Sequence[Trial], dataset: Dataset) -> tuple[str, ...]:
    """What the user should know of the files, the pixels and the names, and may want to decide."""
    return (*_others(best, trials), *_notes(best, dataset), *_of_names(best), *_unused(files, best, trials))


def _notes(best: Trial, dataset: Dataset) -> list[str]:
    cases = [sample.case for sample in dataset.samples]
    notes = [*dataset.notes, *_of_pixels(dataset, best)]
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


def _of_names(best: Trial) -> list[str]:
    """Names and pixels that contradict each other: pixels decide."""
    pattern, masks = (str(best.candidate.options.get(key, "")) for key in ("images", "masks"))
    if not (masks and names_masks(pattern) and not names_masks(masks) and names_images(masks)):
        return []
    return [f"by their grey levels, files like `{masks}` are the masks and files like `{pattern}` the images"]


def _unused(files: Files, best: Trial, trials: Sequence[Trial]) -> list[str]:
    """Tables that could say more and have faults, and files that are not read, in words."""
    used = best.candidate.options.get("label_from", {}).get("file")
    notes = {}
    for trial in trials:
        table = trial.candidate.options.get("label_from", {})
        if trial.faults and table and table["file"] != used and trial.candidate.layout == best.candidate.layout:
            more = f" (and {len(trial.faults) - 1} more)" if len(trial.faults) > 1 else ""
            says = " and ".join(key for key in ("label", "patient", "split") if key in table)
            notes[table["file"]] = (
                f"'{table['file']}' seems to tell the {says} of images and is not used: {trial.faults[0]}{more} Mend "
                "it, delete the entry and add it again."
            )
    return [*notes.values(), *advise(files.others)]


def _of_pixels(dataset: Dataset, best: Trial) -> list[str]:
    """What pixels tell: a known data set, images under two labels, copies, masks that cannot be lesions."""
    notes, spec = [], dataset.spec
    if known := recognise(dataset.samples):
        notes.append(
            f"{known.images} of {len(dataset)} images are known by their pixels as near-duplicates in '{known.name}': "
            f"its groups hold here too (`groups: {known.groups}` in the entry). `usfm-bench data show {known.name}` "
            "has what else is known of it"
        )
    if spec.exclude:
        listed = shown([f"{name}: {reason}" for name, reason in spec.exclude.items()])
        notes.append(f"left out {len(spec.exclude)} images ({listed}); `exclude` in the entry names them all")
    if pairs := loose_pairs(dataset):
        notes.append(
            f"{pairs} pairs of images are near-duplicates that a split could part; `usfm-bench data audit {spec.name}` "
            "shows them"
        )
    odd = [s.case.case_id for s in dataset.samples if s.mask is not None and cannot_be_lesion(s.mask)]
    if odd:
        notes.append(f"{len(odd)} masks cover most of their image and its edge, as no lesion does: {shown(odd)}")
    if ignored := best.candidate.options.get("ignore"):
        notes.append(
            f"files like {' and '.join(f'`{pattern}`' for pattern in ignored)} look like masks and belong to images: "
            "they are ignored. If they are lesions, add their pattern to `masks` in the entry"
        )
    return notes
