"""How large trained weights will be, before anything is trained or downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from usfm_bench.core.errors import BenchError
from usfm_bench.models.build import ModelBody, build_network
from usfm_bench.models.kept import frozen_names, stand_in
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.model import resolve, weight_file
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.trial import TrialSpec

_BYTES = 4  # of a float32
_SOME_CLASSES = ("a", "b")  # of a data set whose classes are its folders: a few numbers more or less in the head


class Size(NamedTuple):
    """Bytes that a trial's kept weights take."""

    own: int
    """Of this trial alone."""
    frozen: int
    """Of the encoder that is not trained; trials of one `encoder` have one file of it on the disk."""
    encoder: tuple[str, ...]
    """What the file's content depends on, as far as it is known before a trial."""


def weight_bytes(trials: Sequence[TrialSpec]) -> list[Size | None]:
    """About how much disk the kept weights of each trial take; None: not known, as of a weight file that is not here.

    No tensor is allocated, and trials that differ in seed and fold alone are counted together.
    """
    known: dict[tuple[str, ...], tuple[int, int] | None] = {}
    sizes: list[Size | None] = []
    for spec in trials:
        key = (spec.model, spec.task, spec.dataset.name, spec.training.model_dump_json())
        if key not in known:
            known[key] = _weight_bytes(spec)
        found, seed = known[key], (str(spec.seed),) if resolve(spec.model).weights == "scratch" else ()
        sizes.append(found and Size(*found, (*key[:2], key[3], *seed)))
    return sizes


def disk_bytes(sizes: Sequence[Size | None]) -> int:
    """What those that are known take together."""
    known = [size for size in sizes if size is not None]
    return sum(size.own for size in known) + sum({size.encoder: size.frozen for size in known}.values())


def _weight_bytes(spec: TrialSpec) -> tuple[int, int] | None:
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
        if entry.frozen:
            network.freeze()
    except (BenchError, RuntimeError, NotImplementedError):  # a layer that no meta device has
        return None
    fixed = frozen_names(network)
    total = sum(parameter.numel() for parameter in network.parameters())
    frozen = sum(parameter.numel() for name, parameter in network.named_parameters() if name in fixed)
    return _BYTES * (total - frozen), _BYTES * frozen
