"""Fitting a probe: scikit-learn on features that the encoder computes once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from usfm_bench.core.errors import TrialError
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise
from usfm_bench.models.known_features import known_features
from usfm_bench.models.probes import Probe
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training.checkpoint import Progress
from usfm_bench.training.dtypes import watch_dtypes
from usfm_bench.training.finetune import OnEpoch

STRENGTHS = tuple(10.0**k for k in range(-4, 4))
"""Inverse regularisation C of the logistic regression."""
NEIGHBOURS = (1, 3, 5, 10, 20, 30, 50)
_ITERATIONS = 2000


def fit_probe(
    probe: Probe,
    train: NetworkData,
    val: NetworkData,
    spec: TrainingSpec,
    *,
    fabric: Any,
    normalise: Normalise,
    on_epoch: OnEpoch = lambda row: None,
) -> Progress:
    """Fit in place what stands on the encoder; validation chooses the features, and C or the number of neighbours.

    Nothing is drawn: with equal encoders and sides, all seeds give the same probe.

    Raises:
        TrialError: a class has no training image.
    """
    started, progress = time.perf_counter(), Progress()
    labels = train.labels
    if empty := sorted(set(range(probe.n_outputs)) - set(labels.tolist())):
        raise TrialError(f"no training image of class number {', '.join(map(str, empty))}; a probe needs one of each.")
    fabric.to_device(probe)
    known = known_features(probe, spec.precision)
    with watch_dtypes(probe, progress.dtypes), torch.inference_mode(), fabric.autocast():
        x, x_val = (probe_features(probe, data, known, spec, fabric, normalise) for data in (train, val))
    best: dict[str, Tensor] = {}
    tries = _linear(probe, x, labels, spec) if probe.kind == "linear" else _nearest(probe, x, torch.from_numpy(labels))
    for setting, loss in tries:
        with torch.no_grad():
            said = probe.cpu().read(x_val)
        score = val.task.validate(iter([(said, torch.from_numpy(val.labels))]))
        progress.epoch += 1
        progress.history.append({"epoch": progress.epoch, "lr": setting, "loss": loss, "val_score": score})
        on_epoch(progress.history[-1])
        if score > progress.best_score:
            progress.best_score, progress.best_epoch = score, progress.epoch
            best = {key: value.clone() for key, value in probe.state_dict().items() if not key.startswith("features.")}
    probe.expect(best)
    probe.load_state_dict(best, strict=False)
    fabric.to_device(probe)
    probe.known = known
    progress.train_images = len(train)
    progress.train_s = progress.wall_s = time.perf_counter() - started
    return progress


def probe_features(
    probe: Probe, data: NetworkData, known: Any, spec: TrainingSpec, fabric: Any, normalise: Normalise
) -> Tensor:
    """(N, D) float32 on the CPU; the encoder is asked what `known` does not hold."""
    probe.eval()
    batches = data.batches(spec.batch_size, fabric.device, np.arange(len(data)))
    rows = torch.cat([known.of(probe, normalise(images)).float().cpu() for images, _ in batches])
    known.keep()
    return rows


def _linear(probe: Probe, x: Tensor, labels: Any, spec: TrainingSpec) -> Iterator[tuple[float, float]]:
    """Multinomial logistic regression on standardised features, by features and C; the loss is on training images."""
    from sklearn.linear_model import LogisticRegression

    weight = "balanced" if spec.class_weights == "balanced" else None
    assert probe.head is not None
    for columns in probe.choices:
        own = x[:, columns].double().numpy()
        mean, deviation = own.mean(axis=0), own.std(axis=0)
        deviation[deviation == 0] = 1
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight=weight)
            model.fit((own - mean) / deviation, labels)
            rows, offsets = model.coef_ / deviation, model.intercept_ - (model.coef_ * (mean / deviation)).sum(axis=1)
            if len(rows) == 1:  # of two classes there is one difference
                rows, offsets = np.stack([-rows[0], rows[0]]) / 2, np.array([-offsets[0], offsets[0]]) / 2
            probe.head.weight.data = torch.zeros(probe.n_outputs, x.shape[1])
            probe.head.weight.data[:, columns] = torch.from_numpy(rows).float()
            probe.head.bias.data = torch.from_numpy(offsets).float()
            with torch.no_grad():
                loss = F.cross_entropy(x @ probe.head.weight.T + probe.head.bias, torch.from_numpy(labels))
            yield strength, float(loss)


def _nearest(probe: Probe, x: Tensor, labels: Tensor) -> Iterator[tuple[float, float]]:
    """Cosine neighbours, by features and their number."""
    for columns in probe.choices:
        memory = torch.zeros_like(x)
        memory[:, columns] = F.normalize(x[:, columns], dim=1)
        probe.memory, probe.labels = memory, labels.clone()
        for n in [n for n in NEIGHBOURS if n <= len(x)]:
            probe.neighbours = torch.tensor(n)
            yield float(n), math.nan
