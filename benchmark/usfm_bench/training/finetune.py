"""The training loop, top to bottom, for every task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from usfm_bench.core.errors import TrialError
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise, build_augmentation
from usfm_bench.specs.task import Task
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training.checkpoint import Checkpoint, Progress
from usfm_bench.training.dtypes import watch_dtypes
from usfm_bench.training.optim import build_optimizer, build_schedule
from usfm_bench.training.predict import validate
from usfm_bench.training.sampling import epoch_order
from usfm_bench.training.seeding import Stream, generator, torch_seeded

OnEpoch = Callable[[dict[str, float]], None]
"""Called after each epoch with its row of the history."""


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
    watched = partial(watch_dtypes, model)
    near, near_val = train.near(fabric.device), val.near(fabric.device)

    with Checkpoint(state, model, optimizer) as checkpoint, _compiled(model, spec.compile):
        progress, best = checkpoint.load(), checkpoint.best
        while progress.epoch < spec.epochs:
            started = time.perf_counter()
            epoch = progress.epoch
            order = epoch_order(train, spec, generator(seed, Stream.ORDER, epoch))
            # Hooks would cut a compiled network into pieces.
            unwatched = nullcontext() if spec.compile else watched(progress.dtypes)
            with torch_seeded(seed, Stream.EPOCH, epoch), unwatched:
                losses = []
                net.train()
                for step, (images, targets) in enumerate(near.batches(spec.batch_size, fabric.device, order)):
                    schedule.step_update(epoch * steps + step)
                    images, targets = _augmented(augment, train.task, images, targets)
                    losses.append(_step(net, optimizer, fabric, spec, normalise(images), targets))
            row = {"epoch": epoch + 1, "lr": optimizer.param_groups[-1]["lr"], "loss": _finite_mean(losses, epoch)}
            progress.train_images += len(order)
            progress.train_s += time.perf_counter() - started

            if (epoch + 1) % spec.validate_every == 0 or epoch + 1 == spec.epochs:
                with watched(progress.dtypes):
                    row["val_score"] = validate(net, normalise, near_val, spec.batch_size, fabric.device)
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


@contextmanager
def _compiled(model: Any, wanted: bool) -> Iterator[None]:
    """The model's loss compiled as one graph while the context lasts; its forward pass stays as it is."""
    if wanted:
        model.loss = torch.compile(model.loss)
    try:
        yield
    finally:
        if wanted:
            del model.loss


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
