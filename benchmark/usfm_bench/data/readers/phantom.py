"""Simulated images, drawn when they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from usfm_bench.core.errors import DataError, did_you_mean
from usfm_bench.data.phantom import PARTS, PhantomSpec, draw_plan, render, render_pair
from usfm_bench.data.readers.base import READERS, read_options
from usfm_bench.data.sample import Case, Sample, sample_of
from usfm_bench.specs.dataset import DatasetSpec, GroupKind


@READERS.register("phantom")
class PhantomReader:
    """Cases of a `PhantomSpec`, whose fields are the entry's `options`."""

    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    grouped_by: GroupKind | None = None

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        self._classes, self._structures = spec.classes, spec.structures
        if strange := [name for name in spec.structures if name not in PARTS]:
            raise DataError(
                f"Dataset '{spec.name}': structures: '{strange[0]}' is not simulated.{did_you_mean(strange[0], PARTS)} "
                f"Known: {', '.join(PARTS)}."
            )
        self._phantom = read_options(spec, PhantomSpec)

    def cases(self) -> list[Case]:
        """Every index whose class the entry names."""
        return [
            Case(f"phantom-{index:05d}", label, index=index, organ=organ)
            for index, (label, organ) in enumerate(draw_plan(self._phantom))
            if not self._classes or label in self._classes
        ]

    def load(self, case: Case) -> Sample:
        """The simulated image, its exact masks and its pixel spacing; of pairs the good image beside that."""
        good = None
        if self._phantom.low_probe is None:
            phantom = render(self._phantom, case.index)
            image = phantom.image
        else:
            image, phantom = render_pair(self._phantom, case.index)
            good = phantom.image
        masks = np.stack([phantom.parts[name] for name in self._structures]) if self._structures else phantom.mask
        return replace(sample_of(case, image, masks, phantom.spacing), good=good)
