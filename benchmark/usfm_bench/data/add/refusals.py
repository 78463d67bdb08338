"""Why `data add` refuses, in words, with what to do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from usfm_bench.core.words import percent
from usfm_bench.data.add.file_kinds import advise, by_kind, shown
from usfm_bench.data.add.folder_names import is_no_class, names_masks
from usfm_bench.data.add.found_files import Files
from usfm_bench.data.add.guess import WITH_PATIENT, Trial
from usfm_bench.data.mask_likeness import are_masks

_MOST_LINES = 12
_HELP = "docs/adding.md, 'Your own images'"


def capped(faults: Sequence[str], most: int = _MOST_LINES) -> str:
    """The first faults, a line each, and how many more there are."""
    more = [f"... and {len(faults) - most} more."] if len(faults) > most else []
    return "\n".join([*faults[:most], *more])


def in_words(trial: Trial) -> str:
    """The reading: its layout, what speaks for it, and its options."""
    options = ", ".join(f"{key}: {value}" for key, value in trial.candidate.options.items())
    return f"layout '{trial.candidate.layout}' ({trial.candidate.reason}{'; ' + options if options else ''})"


def hint(faults: str, best: Trial) -> str:
    """What to do about faults of files."""
    if "has no mask file" in faults and (sides := _bare_sides(best)):
        return f"No image of {' and '.join(sides)} has a mask: move these images away, or add their masks."
    if "has no mask file" in faults:
        return "If images without a mask show no lesion, say --no-mask empty."
    if best.candidate.layout == "manifest" and "missing; found" in faults:
        return f"Rename the columns, or give the folder of images with the table in it ({_HELP})."
    return f"Mend the files, or choose another reading with --layout; {_HELP}, shows all."


def _bare_sides(best: Trial) -> list[str]:
    """Sides of a split of which no image has a mask."""
    sides = {case.split for case in best.cases if case.split}
    return sorted(sides - {case.split for case in best.cases if case.masks and case.split})


def nothing_fits(
    name: str, place: Path, files: Files, trials: Sequence[Trial], *, layout: str | None, patient: str | None
) -> str:
    """What was tried and why it failed, or what is missing, and what to do."""
    asked = f" in layout '{layout}'" if layout else ""
    if not trials and not asked and files.images and files.mask_share < 0.5:
        told = [*_false_masks(files), *deeper(name, files), *beside_pictures(files)]
        return "\n".join([*files.faults, untrainable(len(files.images), files, set()), *told])
    lines = [*files.faults, f"{place}: {len(files.pictures)} images, and no reading{asked} fits."]
    if patient:
        lines.append(f"--patient is for the layouts {', '.join(WITH_PATIENT)}; a list has a column `patient`.")
    for trial in trials:
        more = f" (and {len(trial.faults) - 1} more)" if len(trial.faults) > 1 else ""
        lines.append(f"Tried {in_words(trial)}: {trial.faults[0]}{more}")
    told = [*(() if trials else _missed(files)), *_false_masks(files), *deeper(name, files), *beside_pictures(files)]
    return "\n".join([*lines, *told, _GO_ON])


def _false_masks(files: Files) -> list[str]:
    """Folders that are called as masks are, and hold pictures."""
    found: dict[str, list[Path]] = {}
    for name, path in files.images.items():
        for part in PurePosixPath(name).parts[:-1]:
            if names_masks(part):
                found.setdefault(part, []).append(path)
    return [
        f"'{folder}' is called as masks are, but its files ({shown([p.name for p in paths])}) have tones of grey as "
        "pictures have. Masks have few levels, such as 0 and 255; a picture with an outline drawn into it is no mask."
        for folder, paths in found.items()
        if not are_masks(paths)
    ]


def deeper(name: str, files: Files) -> list[str]:
    """Folders below that could be what is meant: their own folders look like classes."""
    below: dict[str, set[str]] = {}
    for image in files.images:
        parts = PurePosixPath(image).parts[:-1]
        if len(parts) > 1:
            below.setdefault(parts[0], set()).add(parts[1])
    good = {top: names for top, names in below.items() if len(names) > 1 and not any(map(is_no_class, names))}
    return [
        f"'{top}' holds folders {shown(sorted(names))}: if these are the classes, say "
        f"{shlex.join(['usfm-bench', 'data', 'add', name, str(files.root / top)])}"
        for top, names in list(good.items())[:3]
    ]


def beside_pictures(files: Files) -> list[str]:
    """What else lies there, by kind, and what to do with it."""
    kinds = [f"{ending} {words}" for ending, words in by_kind([*files.others, *files.tables]).items()]
    return [f"Beside the pictures: {'; '.join(kinds)}."] * bool(kinds) + advise(files.others)


def _missed(files: Files) -> list[str]:
    """What each kind of reading lacks, for a folder that none was tried on."""
    share = f"{percent(files.mask_share)} of a sample of the image files look like masks"
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


def untrainable(n: int, files: Files, labels: set[str | None]) -> str:
    """Why images without masks and without two classes are of no use, and what to do."""
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
