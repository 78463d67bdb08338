"""How large trained weights will be, before anything is trained or downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from usfm_bench.core.errors import BenchError
from usfm_bench.models.build import ModelBody, build_network
from usfm_bench.models.kept import stand_in
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.model import resolve, weight_file
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.trial import TrialSpec

_BYTES = 4  # of a float32
_SOME_CLASSES = ("a", "b")  # of a data set whose classes are its folders: a few numbers more or less in the head


def weight_bytes(trials: Sequence[TrialSpec]) -> list[int | None]:
    """About how much disk the kept weights of each trial take; None: not known, as of a weight file that is not here.

    No tensor is allocated, and trials that differ in seed and fold alone are counted together.
    """
    known: dict[tuple[str, ...], int | None] = {}
    keys = [(spec.model, spec.task, spec.dataset.name, spec.training.model_dump_json()) for spec in trials]
    for key, spec in zip(keys, trials, strict=True):
        if key not in known:
            known[key] = _weight_bytes(spec)
    return [known[key] for key in keys]


def _weight_bytes(spec: TrialSpec) -> int | None:
    entry, encoder = resolve(spec.model), None
    try:
        if entry.weights == "file" and not entry.architecture:
            encoder = FAMILIES[entry.family].shape(weight_file(entry))
        else:
            entry = replace(entry, weights="scratch")
        body = ModelBody(entry, spec.training, encoder=encoder)
        train = stand_in(spec.dataset, spec.dataset.classes or _SOME_CLASSES)
        with torch.device("meta"):
            network = build_network(body, TASKS[spec.task], train)
    except (BenchError, RuntimeError, NotImplementedError):  # a layer that no meta device has
        return None
    return _BYTES * sum(parameter.numel() for parameter in network.parameters())
