"""What lies in a folder that nobody has described: images, DICOM files, volumes, lists."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from os.path import commonpath
from pathlib import Path

from usfm_bench.core.errors import BenchError
from usfm_bench.data.add.file_kinds import advise
from usfm_bench.data.add.guess_outlines import outline_files
from usfm_bench.data.mask_likeness import is_volume, mask_share
from usfm_bench.data.readers.dicom_files import is_dicom
from usfm_bench.data.readers.files import IMAGES, list_files

TABLES = (".csv", ".parquet")
"""Endings of lists."""
LABEL_TABLES = (".tsv", ".xlsx")
"""Endings of tables that can say what images show, and cannot be lists of them."""


@dataclass(frozen=True)
class Files:
    """What lies below a folder."""

    root: Path
    """The deepest folder that holds all images, or else the folder given."""
    all: dict[str, Path]
    """Every file by its path relative to the root."""
    beside: dict[str, Path] = field(default_factory=dict)
    """Files of the folder given that lie outside the root, by their path relative to the folder."""
    faults: tuple[str, ...] = ()
    """Links that leave the folder, and names that other systems cannot tell apart."""

    @cached_property
    def images(self) -> dict[str, Path]:
        """Those with an image's ending."""
        return {name: path for name, path in self.all.items() if path.suffix.lower() in IMAGES}

    @cached_property
    def dicom(self) -> dict[str, Path]:
        """Those with DICOM's mark or ending."""
        others = {name: path for name, path in self.all.items() if name not in self.images}
        return {name: path for name, path in others.items() if is_dicom(path)}

    @cached_property
    def pictures(self) -> dict[str, Path]:
        """All that a layout should explain."""
        return self.images | self.dicom | self.volumes

    @cached_property
    def volumes(self) -> dict[str, Path]:
        """Those with the ending of MetaImage or NIfTI."""
        return {name: path for name, path in self.all.items() if is_volume(path)}

    @cached_property
    def tables(self) -> list[str]:
        """Lists, those that lie in the root itself first."""
        found = [name for name, path in self.all.items() if path.suffix.lower() in (*TABLES, *LABEL_TABLES)]
        return sorted(found, key=lambda name: (name.count("/"), name))

    @cached_property
    def others(self) -> dict[str, Path]:
        """Files that are neither pictures nor tables, also those beside the root."""
        known = {*self.pictures, *self.tables}
        return {name: path for name, path in self.all.items() if name not in known} | self.beside

    @cached_property
    def mask_share(self) -> float:
        """Share of masks among the image files, by a sample."""
        return mask_share(list(self.images.values()), 40)


def absolute_path(path: Path) -> str:
    """Without `..`, and through links as they were given: a folder here may well be a link to a larger disk."""
    return os.path.abspath(path)  # noqa: PTH100 - see above


def look_at(place: Path) -> Files:
    """The files of a folder, or of the folder of a list.

    Raises:
        BenchError: there is nothing, or no file is an image.
    """
    if place.is_file():
        if place.suffix.lower() not in TABLES:
            advice = advise({place.name: place}) or [f"{place}: give the folder that it lies in."]
            raise BenchError(
                f"{place}: is neither a folder, nor a .zip, nor a list that ends in .csv or .parquet. {advice[0]}"
            )
        return Files(place.parent, {place.name: place})
    if not place.is_dir():
        raise BenchError(f"{place}: does not exist.")
    paths, faults = list_files(place, endings=None)
    files = Files(place, {path.relative_to(place).as_posix(): path for path in paths}, faults=tuple(faults))
    outlines = outline_files(files.all)
    if not files.pictures and not files.tables and not outlines:
        kinds = f"{', '.join(sorted(IMAGES))}, DICOM, NIfTI or MetaImage"
        nothing = f"{place}: holds no image ({kinds}) and no list (.csv, .parquet)."
        raise BenchError("\n".join([*faults, nothing, *advise(files.others)]))
    root = Path(commonpath([files.all[name].parent for name in (*files.pictures, *files.tables, *outlines)]))
    inside = {p.relative_to(root).as_posix(): p for p in paths if p.is_relative_to(root)}
    beside = {name: path for name, path in files.all.items() if not path.is_relative_to(root)}
    return Files(root, inside, beside, tuple(faults))
