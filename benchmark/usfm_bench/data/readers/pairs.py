"""Pairs of one view in low and in high quality, by file name patterns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, read_options, shorten
from usfm_bench.data.readers.masks import MasksReader
from usfm_bench.data.readers.masks_options import MasksOptions, Pattern
from usfm_bench.data.readers.patterns import Key, compile_pattern, shared_key
from usfm_bench.data.sample import Case, Image, Sample
from usfm_bench.specs.dataset import DatasetSpec


class PairsOptions(MasksOptions):
    """Options of the layout `pairs`: those of `masks`, whose `images` are the pictures of low quality."""

    good: Pattern
    """The pictures of high quality. A picture is paired with the one that agrees with it in the placeholders of both
    patterns."""


@READERS.register("pairs")
class PairsReader(MasksReader):
    """One case a pair; all that holds of the layout `masks` holds of its pictures of low quality."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        options = read_options(spec, PairsOptions)
        self._pattern = options.good
        self._files: dict[str, Path] = {}
        self._good: dict[str, Path] = {}
        super().__init__(spec, root, options.model_copy(update={"ignore": (*options.ignore, options.good)}))
        self._ignored = [compile_pattern(pattern) for pattern in options.ignore]

    @property
    def partners(self) -> list[Path]:
        """Every good image that has a partner, once `cases` was asked."""
        return list(self._good.values())

    def find(self) -> dict[str, Path]:
        """As of every folder; remembered for the pairing."""
        self._files = super().find()
        return self._files

    def cases(self) -> list[Case]:
        """Every picture of low quality that has a partner; what is without one, or has several, goes to `faults`."""
        cases = super().cases()
        image, good = compile_pattern(self.options.images), compile_pattern(self._pattern)
        partners: dict[Key, list[str]] = {}
        for name in self._files:
            match = good.fullmatch(name)
            if match and not any(pattern.fullmatch(name) for pattern in self._ignored):
                partners.setdefault(shared_key(match.groupdict(), image, good), []).append(name)
        paired, taken = [], set()
        for case in cases:
            match = image.fullmatch(case.case_id)
            assert match is not None
            key = shared_key(match.groupdict(), image, good)
            taken.add(key)
            paired.append(case)
            if len(partners.get(key, ())) == 1:
                self._good[case.case_id] = self._files[partners[key][0]]
            else:
                self.faults.append(self._unpaired(case, partners.get(key, [])))
        self.faults += [
            Fault(
                f"{self._files[name]}: has no partner of low quality (`{self.options.images}`). Add it, or `ignore` "
                "this one.",
                name,
            )
            for key in partners.keys() - taken
            for name in partners[key]
        ]
        return paired

    def _unpaired(self, case: Case, partners: list[str]) -> Fault:
        if not partners:
            said = f"has no partner of high quality (`{self._pattern}`). Add it, or name the case under `exclude`."
        else:
            said = f"has {len(partners)} partners of high quality ({shorten(partners)}). Keep one, or `ignore` others."
        return Fault(f"{case.image}: {said}", case.case_id)

    def load(self, case: Case) -> Sample:
        """Both pictures by luminance, and the mask where the entry has a pattern for one.

        Raises:
            DataError: a picture that cannot be read, two sizes, or the same pixels twice; names both files.
        """
        sample, path = super().load(case), self._good.get(case.case_id)
        if path is None:
            return sample  # told by `cases`
        return with_good(sample, self.read_image(path), path)


def with_good(sample: Sample, good: Image, path: Path) -> Sample:
    """The case with its good image.

    Raises:
        DataError: two sizes, or the same pixels twice; names both files.
    """
    image = sample.case.image
    sizes = ["{1} x {0}".format(*picture.shape) for picture in (sample.image, good)]
    if good.shape != sample.image.shape:
        raise DataError(
            f"{image}: is of {sizes[0]} pixels and its partner '{path}' of {sizes[1]}: a pair shows one view "
            "pixel by pixel. Register the two, or name the case under `exclude`."
        )
    if np.array_equal(good, sample.image):
        raise DataError(
            f"{image}: has the same pixels as its partner '{path}', so that nothing is to be enhanced. Put "
            "the right picture there, or name the case under `exclude`."
        )
    return replace(sample, good=good)
