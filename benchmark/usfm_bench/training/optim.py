"""Optimiser and schedule of the published recipe."""

from __future__ import annotations

from typing import Any

from timm.scheduler import CosineLRScheduler
from torch.optim import AdamW, Optimizer

from usfm_bench.specs.training import TrainingSpec


def build_optimizer(model: Any, spec: TrainingSpec) -> AdamW:
    """AdamW over the model's own parameter groups (`lr_scale` holds the layer-wise decay)."""
    groups = model.param_groups(weight_decay=spec.weight_decay, layer_decay=spec.layer_decay)
    lr = spec.lr * lr_factor(spec)
    return AdamW(groups, lr=lr, betas=spec.betas, eps=spec.eps, fused=True)


def build_schedule(optimizer: Optimizer, spec: TrainingSpec, steps_per_epoch: int) -> CosineLRScheduler:
    """Linear warm-up, then a cosine to `min_lr`, set at every step from the step's number alone."""
    factor = lr_factor(spec)
    return CosineLRScheduler(
        optimizer,
        t_initial=spec.epochs * steps_per_epoch,
        lr_min=spec.min_lr * factor,
        warmup_t=round(spec.warmup_epochs * steps_per_epoch),
        warmup_lr_init=spec.warmup_lr * factor,
        t_in_epochs=False,
    )


def lr_factor(spec: TrainingSpec) -> float:
    """What learning rates are multiplied by: linear scaling with the batch, where the recipe asks for it."""
    return spec.batch_size / spec.lr_scale_batch if spec.lr_scale_batch else 1.0
