"""Modules that a user passes to `usfm_bench.benchmark`."""

from __future__ import annotations

import copy
from typing import Any

from usfm_bench.core.errors import BenchError
from usfm_bench.specs.family import FAMILIES, Asked, Backbone, Family
from usfm_bench.specs.model import ModelEntry

OWN: dict[str, tuple[Any, tuple[float, ...], tuple[float, ...]]] = {}
"""Title -> module, mean and standard deviation, while it is benchmarked."""


class Own(Family):
    """Modules that were passed to `benchmark`; they live in this process alone."""

    name = "own"
    title = "module of your own"
    usage = "a torch.nn.Module, in Python: usfm_bench.benchmark(module, ...)"
    gives = ("vector",)
    reads_files = False
    varied = True

    def entry(self, name: str, rest: str) -> ModelEntry:
        """The entry of a module that is being benchmarked."""
        if rest not in OWN:
            raise BenchError(f"'{name}' was a module in another process; pass it to `usfm_bench.benchmark` again.")
        return ModelEntry(name, self.name, rest, f"module of your own, {rest}", gives=self.gives)

    def backbone(self, entry: ModelEntry, asked: Asked) -> Backbone:
        """A copy with the methods that heads and probes call."""
        from usfm_bench.models.own import OwnModel

        module, mean, std = OWN[entry.architecture]
        return Backbone(OwnModel(copy.deepcopy(module), asked.image_size or 224), mean, std)


FAMILIES.register(Own.name)(Own())
