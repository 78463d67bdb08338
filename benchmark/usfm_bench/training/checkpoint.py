"""How far a fine-tuning has come, and the file that it is continued from."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from usfm_bench.core.errors import BenchError, TrialError
from usfm_bench.core.files import write_atomic
from usfm_bench.training.dtypes import Dtypes


@dataclass
class Progress:
    """How far a fine-tuning has come; what `state.pt` holds beside the weights."""

    epoch: int = 0
    """Epochs done."""
    best_epoch: int = 0
    best_score: float = -math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    train_images: int = 0
    """Images put through training steps."""
    train_s: float = 0.0
    """Seconds in training steps."""
    wall_s: float = 0.0
    """Seconds in all, over all parts of a resumed trial."""
    dtypes: Dtypes = field(default_factory=dict)
    """What the network computed with, in training and in validation."""


class Checkpoint:
    """`state.pt`: weights, optimiser and progress after an epoch; nothing random, since seeds derive from the epoch.

    Training waits for a copy in memory only; a thread writes it. When the context ends, the last one is on disk.
    """

    # Writing may take at most about this share of the time; a large model is then not saved at every epoch. With a
    # share without end it is, and waits for the last one.
    _share = 0.1

    def __init__(self, path: Path | None, model: Any, optimizer: Any) -> None:
        self.path, self._model, self._optimizer = path, model, optimizer
        self.best: dict[str, Tensor] = {}
        self._last_write_s = 0.0
        self._last_end = time.perf_counter()
        self._writer = ThreadPoolExecutor(1, "state.pt")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.shutdown()
        if kind is None:
            self._check_written()

    def load(self) -> Progress:
        """Continue where the file says, or start at epoch 0."""
        if self.path is None or not self.path.exists():
            return Progress()
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            self._model.load_state_dict(content["model"])
            self._optimizer.load_state_dict(content["optimizer"])
            best, progress = dict(content["best"]), Progress(**content["progress"])
        except Exception as error:  # torch raises many kinds on a damaged file
            self.path.unlink()
            raise TrialError(
                f"{self.path}: half-done work could not be read ({str(error).splitlines()[0]}) and was removed. "
                "The same command starts this trial anew."
            ) from error
        device = next(self._model.parameters()).device
        self.best.update({key: value.to(device) for key, value in best.items()})
        return progress

    def save(self, progress: Progress) -> None:
        """Have the file written, unless the last one is not yet there or writing would take too large a share of time.

        Raises:
            TrialError: the last one could not be written.
        """
        busy = self._writing is not None and not self._writing.done()
        if self.path is None or (busy and math.isfinite(self._share)):
            return
        self._check_written()
        started = time.perf_counter()
        if (started - self._last_end) * self._share < self._last_write_s:
            return
        content = {
            "model": self._model.state_dict(),
            "best": self.best,
            "optimizer": self._optimizer.state_dict(),
            "progress": deepcopy(vars(progress)),
        }
        copied = tree_map_only(Tensor, _copied, content)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()  # copies from a GPU run beside what follows
        self._writing = self._writer.submit(self._write, copied, started)

    def _write(self, content: dict[str, Any], started: float) -> None:
        assert self.path is not None
        write_atomic(self.path, lambda stream: torch.save(content, stream))
        self._last_end = time.perf_counter()
        self._last_write_s = self._last_end - started

    def _check_written(self) -> None:
        try:
            if self._writing is not None:
                self._writing.result()
        except BenchError as error:
            raise TrialError(str(error)) from error


def _copied(tensor: Tensor) -> Tensor:
    """On the CPU, in memory of its own."""
    if not tensor.is_cuda:
        return tensor.detach().clone()
    copy = torch.empty_like(tensor, device="cpu", pin_memory=True)
    return copy.copy_(tensor.detach(), non_blocking=True)
