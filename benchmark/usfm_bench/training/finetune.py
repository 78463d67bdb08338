"""The training loop, top to bottom, for every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from usfm_bench.core.errors import BenchError, TrialError
from usfm_bench.core.files import write_atomic
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise, build_augmentation
from usfm_bench.specs.task import Task
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training.dtypes import Dtypes, watch_dtypes
from usfm_bench.training.optim import build_optimizer, build_schedule
from usfm_bench.training.predict import validate
from usfm_bench.training.sampling import epoch_order
from usfm_bench.training.seeding import Stream, generator, torch_seeded

OnEpoch = Callable[[dict[str, float]], None]
"""Called after each epoch with its row of the history."""


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


def finetune(
    model: Any,
    train: NetworkData,
    val: NetworkData,
    spec: TrainingSpec,
    *,
    seed: int,
    fabric: Any,
    normalise: Normalise,
    state: Path | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> Progress:
    """Fit `model` in place and leave it at the checkpoint that did best on the validation images.

    Args:
        model: has `.loss(images, targets)` and `.param_groups(...)`, see `usfm_bench.models`.
        train: training images.
        val: validation images; never the test set.
        spec: the recipe.
        seed: governs order and augmentation.
        fabric: device and precision.
        normalise: grey levels to the model's input.
        state: file to resume from and to write to after an epoch; None: neither.
        on_epoch: told of each finished epoch.

    Raises:
        TrialError: the loss is not finite; or too few images.
    """
    if len(train) < 2:
        raise TrialError(f"{len(train)} training image; at least 2 are needed.")
    optimizer = build_optimizer(model, spec)
    steps = max(1, len(train) // spec.batch_size)
    schedule = build_schedule(optimizer, spec, steps)
    augment = build_augmentation(spec.augment, train.task.augmented)
    net, optimizer = fabric.setup(model, optimizer)
    net.mark_forward_method("loss")
    checkpoint = Checkpoint(state, model, optimizer)
    progress = checkpoint.load()
    best = checkpoint.best

    with watch_dtypes(model, progress.dtypes):
        while progress.epoch < spec.epochs:
            started = time.perf_counter()
            epoch = progress.epoch
            order = epoch_order(train, spec, generator(seed, Stream.ORDER, epoch))
            with torch_seeded(seed, Stream.EPOCH, epoch):
                losses = []
                net.train()
                for step, (images, targets) in enumerate(train.batches(spec.batch_size, fabric.device, order)):
                    schedule.step_update(epoch * steps + step)
                    images, targets = _augmented(augment, train.task, images, targets)
                    losses.append(_step(net, optimizer, fabric, spec, normalise(images), targets))
            row = {"epoch": epoch + 1, "lr": optimizer.param_groups[-1]["lr"], "loss": _finite_mean(losses, epoch)}
            progress.train_images += len(order)
            progress.train_s += time.perf_counter() - started

            if (epoch + 1) % spec.validate_every == 0 or epoch + 1 == spec.epochs:
                row["val_score"] = validate(net, normalise, val, spec.batch_size, fabric.device)
                if row["val_score"] > progress.best_score:
                    progress.best_score, progress.best_epoch = row["val_score"], epoch + 1
                    best.update({key: value.detach().clone() for key, value in model.state_dict().items()})
            progress.history.append({"val_score": math.nan} | row)
            progress.epoch += 1
            progress.wall_s += time.perf_counter() - started
            checkpoint.save(progress)
            on_epoch(progress.history[-1])

    model.load_state_dict(best)
    return progress


def unfitted(
    model: Any, val: NetworkData, spec: TrainingSpec, fabric: Any, normalise: Normalise, on_epoch: OnEpoch
) -> Progress:
    """What `finetune` gives, of a network that has nothing to learn: one row with its validation score."""
    started, progress = time.perf_counter(), Progress(epoch=1, best_epoch=1)
    fabric.to_device(model)
    with watch_dtypes(model, progress.dtypes):
        progress.best_score = validate(model, normalise, val, spec.batch_size, fabric.device)
    progress.history.append({"epoch": 1, "lr": math.nan, "loss": math.nan, "val_score": progress.best_score})
    progress.wall_s = time.perf_counter() - started
    on_epoch(progress.history[-1])
    return progress


def _step(net: Any, optimizer: Any, fabric: Any, spec: TrainingSpec, images: Tensor, targets: Tensor) -> Tensor:
    # Fabric's autocast goes with a marked method only where its strategy wraps the network, which one device does not.
    with fabric.autocast():
        loss: Tensor = net.loss(images, targets)
    fabric.backward(loss)
    if spec.clip_norm is not None:
        fabric.clip_gradients(net, optimizer, max_norm=spec.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


class Checkpoint:
    """`state.pt`: weights, optimiser and progress after an epoch; nothing random, since seeds derive from the epoch."""

    # Writing may take at most about this share of the time; a large model is then not saved at every epoch.
    _share = 0.1

    def __init__(self, path: Path | None, model: Any, optimizer: Any) -> None:
        self.path, self._model, self._optimizer = path, model, optimizer
        self.best: dict[str, Tensor] = {}
        self._last_write_s = 0.0
        self._last_end = time.perf_counter()

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
        """Write the file, unless that would take too large a share of the time."""
        now = time.perf_counter()
        if self.path is None or (now - self._last_end) * self._share < self._last_write_s:
            return
        content = {
            "model": self._model.state_dict(),
            "best": self.best,
            "optimizer": self._optimizer.state_dict(),
            "progress": vars(progress),
        }
        try:
            write_atomic(self.path, lambda stream: torch.save(content, stream))
        except BenchError as error:
            raise TrialError(str(error)) from error
        self._last_end = time.perf_counter()
        self._last_write_s = self._last_end - now


def _augmented(augment: Any, task: Task, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if augment is None:
        return images, targets
    if task.augmented:
        images, targets = augment(images, targets)
        return images, task.after_augmentation(targets)
    return augment(images), targets


def _finite_mean(losses: list[Tensor], epoch: int) -> float:
    values = torch.stack(losses).float().cpu().numpy()
    if not np.isfinite(values).all():
        step = int(np.flatnonzero(~np.isfinite(values))[0])
        raise TrialError(
            f"the loss is {values[step]} at epoch {epoch + 1}, step {step + 1}. "
            "A smaller learning rate, or precision fp32, usually helps."
        )
    return float(values.mean())
