"""The only place where torch's global generators are touched: seeded, and put back as they were.

Dropout, drop path and kornia's augmentations draw from the global generator and take no other.
Seeds derive from (trial seed, stream, step), so an epoch's draws do not depend on the epochs before it, and a resumed
trial needs no saved generator state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a seed is for; streams of one trial are independent."""

    INITIALISATION = 0
    ORDER = 1
    EPOCH = 2
    SAMPLING = 3
    MASKS = 4
    STEP = 5


def generator(seed: int, stream: Stream, *step: int) -> np.random.Generator:
    """A NumPy generator for one purpose of one trial; `step` numbers what is drawn."""
    return np.random.default_rng(np.random.SeedSequence([seed, stream, *(step or (0,))]))


def torch_generator(seed: int, stream: Stream, *step: int) -> torch.Generator:
    """A torch generator of its own, on the CPU, for draws that do not need the global one."""
    state = np.random.SeedSequence([seed, stream, *(step or (0,))]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


@contextmanager
def torch_seeded(seed: int, stream: Stream, *step: int, active: bool = True) -> Iterator[None]:
    """Seed torch's generators, on every device, for one purpose of one trial; restore them afterwards.

    `active=False` does nothing, for code that draws only under some settings.
    """
    if not active:
        yield
        return
    state = int(np.random.SeedSequence([seed, stream, *(step or (0,))]).generate_state(1, np.uint64)[0])
    # Asking a GPU for its state would start CUDA, and take memory there, also for a trial on the CPU.
    gpus = torch.cuda.device_count() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=range(gpus)):
        torch.manual_seed(state)
        yield
