"""What a trained network costs to use: parameters, work and time for one image."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from statistics import median
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from usfm_bench.data.loaders import Picked
from usfm_bench.data.transforms import Normalise
from usfm_bench.models.probes import Probe

_RUNS, _SECONDS = 10, 0.15  # of timing one image: whichever ends first
_GIGA = 1e9
_measured: WeakKeyDictionary[Any, dict[Any, tuple[float | None, float]]] = WeakKeyDictionary()


@torch.inference_mode()
def network_costs(model: Any, normalise: Normalise, images: Tensor | Picked, fabric: Any) -> dict[str, Any]:
    """Fields of `results.record.Cost` that are of the network and not of its training. No random number is drawn.

    Args:
        model: trained, on the device of `fabric`.
        normalise: of its inputs, on the same device.
        images: (N, 1, S, S) grey levels, of which the first is used.
        fabric: of the trial; its precision holds here too.
    """
    model.eval()
    image = images[:1].to(fabric.device).float() / 255

    def forward() -> None:
        model(normalise(image))
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)

    def measure() -> tuple[float | None, float]:
        with fabric.autocast():
            return _gflops(forward), _latency(forward)

    gflops, latency = _known_of_probe(model, image, fabric, measure) if isinstance(model, Probe) else measure()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "gflops": gflops,
        "latency_ms": 1000 * latency,
    }


def _known_of_probe(
    probe: Probe, image: Tensor, fabric: Any, measure: Callable[[], tuple[float | None, float]]
) -> tuple[float | None, float]:
    """Of one encoder, probes of the same shape cost the same: one is measured."""
    known = _measured.setdefault(probe.encoder, {})
    own = {name: value.shape for name, value in probe.state_dict().items() if not name.startswith("features.")}
    key = str(own), image.shape, fabric.device, str(fabric.strategy.precision.precision)
    if key not in known:
        known[key] = measure()
    return known[key]


def _gflops(forward: Any) -> float | None:
    """Billions of operations in one run, a multiply-add as two; None where they cannot be counted."""
    counter = FlopCounterMode(display=False)
    with suppress(Exception), counter:  # some operators refuse to be watched, and a missing figure stops no trial
        forward()
        return counter.get_total_flops() / _GIGA or None
    return None


def _latency(forward: Any) -> float:
    """Median seconds of one run, after one that warms up."""
    forward()
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < _RUNS and (not taken or time.perf_counter() - started < _SECONDS):
        before = time.perf_counter()
        forward()
        taken.append(time.perf_counter() - before)
    return median(taken)
