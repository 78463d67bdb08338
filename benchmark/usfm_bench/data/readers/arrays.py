"""Arrays of many images: one `.npz` file, or `.npy` files in a folder, as MedSegBench and MedMNIST have them.

Names are `train_images`, `val_images`, `test_images` (or `images` alone), and for each the masks or the class numbers:
`train_label`, `train_labels`, `train_masks`. What has a picture's height and width is masks, what has one number an
image is classes. The prefixes are the split that the data set prescribes. Nothing in a file is unpickled.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from threading import Lock
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, FolderReader, Options, check_structures, read_options, shorten
from usfm_bench.data.readers.files import MAX_PIXELS, to_grey
from usfm_bench.data.readers.mask_values import Values, select
from usfm_bench.data.readers.patterns import SIDES
from usfm_bench.data.sample import Case, Sample, sample_of
from usfm_bench.specs.dataset import DatasetSpec

MAX_BYTES = 4 << 30
"""All arrays together, unpacked; more is refused by the headers, before anything is read."""
_IMAGES = ("images", "image", "imgs", "x")
_TRUTHS = ("label", "labels", "masks", "mask", "y")


class ArraysOptions(Options):
    """Options of the layout `arrays`."""

    values: Values = "nonzero"
    """Which levels of a mask are the lesion."""
    names: tuple[str, ...] = ()
    """Names of the classes 0, 1, ...; without them, classes are called by their numbers."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@READERS.register("arrays")
class ArraysReader(FolderReader):
    """One case an image of an array. Arrays of an `.npz` file are held in memory, `.npy` files are mapped."""

    endings = frozenset({".npz", ".npy"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._options = read_options(spec, ArraysOptions)
        check_structures(spec, self._options.values)
        self._place = root
        self._masks: dict[str, str] = {}
        self._arrays: dict[str, NDArray[Any]] = {}
        self._lock = Lock()

    def cases(self) -> list[Case]:
        """Every image of the entry's classes, by side and number."""
        self.faults, self._masks, self._arrays = [], {}, {}
        self._place = place = self._find()
        headers = self._headers()
        if sum(math.prod(h.shape) * h.dtype.itemsize for h in headers.values()) > MAX_BYTES:
            raise DataError(
                f"{place}: its headers claim more than {MAX_BYTES >> 30} GiB. Damaged or malicious; not read."
            )
        cases: list[Case] = []
        for name in sorted(headers):
            prefix, _, kind = name.lower().rpartition("_")
            if kind not in _IMAGES or (prefix and prefix not in SIDES):
                continue
            if fault := _image_fault(headers[name]):
                self.faults.append(f"{place}: '{name}' {fault}.")
                continue
            truths = {n: h for n, h in headers.items() if n.lower() in [f"{prefix}_{t}".lstrip("_") for t in _TRUTHS]}
            cases += self._cases_of(name, prefix, headers[name].shape, truths)
        if not cases and not self.faults:
            found = shorten([f"'{name}'" for name in sorted(headers)])
            raise DataError(f"{place}: no array is called 'images', 'train_images' or the like; found {found}.")
        return [case for case in cases if not self.spec.classes or case.label in (None, *self.spec.classes)]

    def load(self, case: Case) -> Sample:
        """Image by luminance (planes are red, green, blue), and its mask where there is one."""
        name = case.case_id.rpartition("/")[0]
        pixels = np.asarray(self._array(name)[case.index])
        if pixels.ndim == 3:
            pixels = pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels[..., [2, 1, 0]])
        mask = None
        if name in self._masks:
            where = Path(f"{self._place}, {self._masks[name]}[{case.index}]")
            levels = _levels(where, np.asarray(self._array(self._masks[name])[case.index]).reshape(pixels.shape[:2]))
            mask = select(where, levels, self._options.values)
        return sample_of(case, to_grey(pixels), mask)

    def _find(self) -> Path:
        """The `.npz` file, or the folder of `.npy` files."""
        if self.root.is_file():
            return self.root
        files = self.find()
        packed = [name for name in files if name.lower().endswith(".npz")]
        if packed and len(files) > 1:
            names = shorten([f"'{name}'" for name in files])
            raise DataError(f"{self.root}: holds {names}. Name one .npz file in the entry's `path`.")
        return files[packed[0]] if packed else self.root

    def _headers(self) -> dict[str, _Header]:
        """Array name -> what its header says; arrays that cannot be read are faults."""
        headers: dict[str, _Header] = {}
        try:
            if self._place.is_dir():
                for path in sorted(self._place.glob("*.npy")):
                    with path.open("rb") as stream:
                        self._add_header(headers, path.stem, stream, path.stat().st_size)
            else:
                with zipfile.ZipFile(self._place) as packed:
                    for member in packed.infolist():
                        with packed.open(member) as stream:
                            self._add_header(headers, member.filename.removesuffix(".npy"), stream, member.file_size)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
            raise DataError(f"{self._place}: cannot be read as arrays: {error}. Copy it again.") from None
        return headers

    def _add_header(self, headers: dict[str, _Header], name: str, stream: IO[bytes], size: int) -> None:
        try:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(stream)
        except (ValueError, EOFError) as error:
            self.faults.append(f"{self._place}: '{name}' is no array: {str(error).splitlines()[0]}.")
            return
        if dtype.hasobject:
            self.faults.append(f"{self._place}: '{name}' holds Python objects, which are not read.")
        elif math.prod(shape) * dtype.itemsize != size - stream.tell():
            self.faults.append(
                f"{self._place}: '{name}' has {size - stream.tell()} bytes; its header promises "
                f"{math.prod(shape) * dtype.itemsize}."
            )
        else:
            headers[name] = _Header(shape, dtype)

    def _array(self, name: str) -> NDArray[Any]:
        with self._lock:  # cases are decoded by several threads
            if name not in self._arrays:
                try:
                    self._arrays[name] = self._read(name)
                except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                    raise DataError(f"{self._place}: '{name}' cannot be read: {error}. Copy it again.") from None
            return self._arrays[name]

    def _read(self, name: str) -> NDArray[Any]:
        if self._place.is_dir():
            mapped: NDArray[Any] = np.load(self._place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            return mapped
        with zipfile.ZipFile(self._place) as packed, packed.open(f"{name}.npy") as stream:
            array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
            return array

    def _cases_of(self, name: str, prefix: str, shape: tuple[int, ...], truths: dict[str, _Header]) -> list[Case]:
        n, masks, classes = shape[0], [], []
        for truth, header in truths.items():
            if header.shape[:3] == shape[:3] and math.prod(header.shape[3:]) == 1:
                masks.append(truth)
            elif header.shape in ((n,), (n, 1)) and header.dtype.kind in "biu":
                classes.append(truth)
            else:
                self.faults.append(
                    f"{self._place}: '{truth}' is {header.dtype} {header.shape}: neither a mask nor a class number for "
                    f"each of '{name}', which is {shape}."
                )
        if len(masks) > 1 or len(classes) > 1:
            both = " and ".join(f"'{truth}'" for truth in (masks if len(masks) > 1 else classes))
            self.faults.append(f"{self._place}: {both} are of '{name}' alike. Keep one.")
        if masks:
            self._masks[name] = masks[0]
        numbers = self._array(classes[0]).ravel().tolist() if classes else [None] * n
        ids = [f"{name}/{i:05d}" for i in range(n)]
        labels = [self._label(number, case_id) for number, case_id in zip(numbers, ids, strict=True)]
        side = SIDES.get(prefix)
        return [
            Case(case_id, label, self._place, index=i, organ=self.spec.organ, split=side)
            for i, (case_id, label) in enumerate(zip(ids, labels, strict=True))
        ]

    def _label(self, number: int | None, case_id: str) -> str | None:
        names = self._options.names
        if number is None or not names:
            return None if number is None else str(int(number))
        if 0 <= number < len(names):
            return names[number]
        self.faults.append(Fault(f"{self._place}: {case_id} is of class {number}; `names` has {len(names)}.", case_id))
        return None


def _image_fault(header: _Header) -> str | None:
    """Why an array holds no images, in words that follow its name."""
    shape = header.shape
    if header.dtype not in (np.uint8, np.uint16):
        return f"is {header.dtype}; images have 8 or 16 bits (uint8, uint16)"
    if len(shape) not in (3, 4) or min(shape) < 1 or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        return f"has the shape {shape}; images are (N, H, W) or (N, H, W, 1, 3 or 4)"
    return "has images of more than 64 million pixels" if shape[1] * shape[2] > MAX_PIXELS else None


def _levels(where: Path, levels: NDArray[Any]) -> NDArray[Any]:
    """Levels as 8 or 16 bits, whatever number type they came in."""
    if levels.dtype in (np.uint8, np.uint16):
        return levels
    whole = np.asarray(levels, np.float64)
    if not ((whole >= 0) & (whole <= 65535) & (whole == np.round(whole))).all():
        raise DataError(f"{where}: levels from {whole.min()} to {whole.max()}; expected whole numbers from 0 to 65535.")
    return whole.astype(np.uint8 if whole.max() <= 255 else np.uint16)
