"""Images that are in no data set: which files a user names, and what they show. Without truth, and without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.core.file_names import encode_name
from usfm_bench.data.readers.base import medical
from usfm_bench.data.readers.dicom_files import crop, grey_frame, is_dicom, read_frame, read_header, uncrop
from usfm_bench.data.readers.files import (
    IMAGES,
    OTHERS,
    VIDEOS,
    ending,
    list_files,
    name_key,
    read_grey,
    say_not_read,
    to_grey,
)
from usfm_bench.data.readers.volumes import read_planes
from usfm_bench.data.sample import Image, Spacing

_NIFTI, _META = (".nii", ".nii.gz"), (".mha", ".mhd")
_DICOM = (".dcm", ".dicom", ".ima")
_DOCUMENTS = {".pdf", ".svg"}
_COLOURS = 3
Answered = NDArray[Any]
"""(H, W) levels of 8 or 16 bits."""


class NewFile(NamedTuple):
    """A file that a user named, or that lies in a folder that they named."""

    path: Path
    name: str
    """Relative to that folder; unique among the files of one call."""
    stem: str
    """Of the names of what is written for it; unique too, also where case does not count."""


class Found(NamedTuple):
    """What the user's paths hold."""

    files: list[NewFile]
    faults: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Frames:
    """The pictures of a file, decoded one at a time."""

    n: int
    load: Callable[[int], Image]
    """(H, W) grey levels of one, as networks see it."""
    spacing: Spacing | None = None
    whole: Callable[[Answered], Answered] = lambda mask: mask
    """A mask of what `load` gives -> one of the whole picture in the file."""
    nifti: Callable[[Sequence[Answered]], Any] | None = None
    """Masks of all pictures -> a nibabel image of the file's own shape and place; None: the file is no NIfTI."""


def find_new_images(paths: Sequence[Path], out: Path) -> Found:
    """Every image at the paths: files, or folders with all that is below them, but for the folder `out`."""
    listed: list[tuple[Path, Path]] = []
    faults: list[str] = []
    others: list[str] = []
    for path in paths:
        if path.is_dir():
            files, found = list_files(path, endings=None)
            faults += found
            inside = [file for file in files if not file.resolve().is_relative_to(out.resolve())]
            pictures = [file for file in inside if _is_picture(file)]
            others += [str(file) for file in inside if file not in set(pictures)]
            listed += [(file, file.relative_to(path)) for file in pictures]
            if not pictures:
                faults.append(f"{path}: no image in this folder.")
        elif path.exists():
            listed.append((path, Path(path.name)))
        else:
            faults.append(f"{path}: does not exist.")
    once = {path.resolve(): (path, name) for path, name in reversed(listed)}
    return Found(_named(list(reversed(once.values()))), faults, say_not_read(others))


def open_frames(path: Path, bits: int | None = None) -> Frames:
    """The pictures of a file of any format that is read here.

    Args:
        path: an image, DICOM, NIfTI or MetaImage file. Three planes are colours, more are slices.
        bits: how many bits of 16 hold levels, as of the data set that a network was trained on.

    Raises:
        DataError: unreadable, a video, or of no format that is read.
        BenchError: a package that reads it is not installed.
    """
    kind = ending(path.name)
    if kind in VIDEOS:
        raise DataError(f"{path}: is a video, which is not read. Save its frames as PNG files.")
    if kind in IMAGES:
        image = read_grey(path, bits)
        return Frames(1, lambda _: image)
    if kind in _NIFTI + _META:
        return _volume(path, nifti=kind in _NIFTI)
    if is_dicom(path) or kind in _DICOM:
        return _dicom(path, bits)
    if not path.is_file():
        raise DataError(f"{path}: is no file.")
    known = ", ".join(sorted(IMAGES | {*_NIFTI, *_META, *_DICOM}))
    raise DataError(f"{path}: of no format that is read. Read are DICOM files and {known}.")


def _dicom(path: Path, bits: int | None) -> Frames:
    header = read_header(path)
    if header.other_regions:
        raise DataError(f"{path}: shows no two-dimensional picture (M-mode, Doppler).")

    def load(index: int) -> Image:
        cropped: Image = crop(grey_frame(path, header, read_frame(path, header, index), bits), header.boxes)
        return cropped

    return Frames(header.frames, load, header.spacing, lambda mask: uncrop(mask, header))


def _volume(path: Path, *, nifti: bool) -> Frames:
    levels, spacing = read_planes(path, path.parent)
    if levels.shape[2] == _COLOURS:  # as data sets are read
        levels = to_grey(levels[..., ::-1].copy())[..., None]
    write = _nifti_like(path) if nifti else None
    return Frames(levels.shape[2], lambda i: np.ascontiguousarray(levels[..., i]), spacing, nifti=write)


def _nifti_like(path: Path) -> Callable[[Sequence[Answered]], Any]:
    """Masks in the place of a file's picture; none of the texts in its header are passed on."""
    nibabel = medical("nibabel")
    file = nibabel.load(path, mmap=False)
    shape, affine, zooms, units = file.shape, file.affine, file.header.get_zooms(), file.header.get_xyzt_units()

    def write(masks: Sequence[Answered]) -> Any:
        own = shape if len(masks) > 1 else (*shape[:2], *(1 for n in shape[2:] if n == 1))
        image = nibabel.Nifti1Image(np.stack(masks, axis=-1).swapaxes(0, 1).reshape(own), affine)
        image.header.set_zooms(zooms[: len(own)])
        image.header.set_xyzt_units(*units)
        return image

    return write


def _is_picture(path: Path) -> bool:
    """Whether a file holds pictures, by its ending or by DICOM's mark; also of formats that are not read."""
    return ending(path.name) in IMAGES | OTHERS - _DOCUMENTS or is_dicom(path)


def _named(listed: Sequence[tuple[Path, Path]]) -> list[NewFile]:
    """Names and stems that no two files share: with more of the path where the shorter name is another's too."""
    names, stems = [], []
    for path, relative in listed:
        name, given = relative.as_posix(), encode_name(str(path))
        folder = path.absolute().parent.name
        longer = f"{folder}/{name}" if folder else name
        names.append([name, longer, given])
        stems.append([_stem(name), name, _stem(longer), longer, given])
    unique = zip(listed, _distinct(names), _distinct(stems), strict=True)
    return [NewFile(path, name, stem) for (path, _), name, stem in unique]


def _distinct(forms: Sequence[Sequence[str]]) -> list[str]:
    """Of the forms of each name the first that no other name has in any form up to it; the last is taken as it is."""
    level = [0] * len(forms)
    while True:
        chosen = [each[i] for each, i in zip(forms, level, strict=True)]
        counts = Counter(name_key(name) for name in chosen)
        again = [i for i, name in enumerate(chosen) if counts[name_key(name)] > 1 and level[i] + 1 < len(forms[i])]
        if not again:
            return chosen
        for i in again:
            level[i] += 1


def _stem(name: str) -> str:
    kind = ending(name)
    return name[: -len(kind)] if kind in IMAGES | OTHERS else name
