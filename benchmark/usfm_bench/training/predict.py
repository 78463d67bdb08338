"""What a model says of images, and how validation judges it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from torch import Tensor

from usfm_bench.config import TrialSpec
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.loaders import NetworkData, network_data
from usfm_bench.data.sample import Mask
from usfm_bench.data.transforms import Normalise
from usfm_bench.predictions import ClassificationPredictions, Predictions, SegmentationPredictions


@torch.inference_mode()
def predict_logits(
    model: Any, normalise: Normalise, data: NetworkData, batch_size: int, device: torch.device
) -> Tensor:
    """Logits of every image, on the CPU in float32: (N, 1, S, S) for segmentation, (N, C) for classification."""
    model.eval()
    order = np.arange(len(data))
    return torch.cat([model(normalise(x)).float().cpu() for x, _ in data.batches(batch_size, device, order)])


def validation_score(logits: Tensor, targets: Tensor) -> float:
    """What chooses the checkpoint: mean Dice on the network's grid, or balanced accuracy, in [0, 1].

    Dice is over the images with a lesion where there are any: an empty prediction on a normal image would
    outweigh every lesion. Classes absent from the validation images are left out of the balanced accuracy.
    """
    if targets.ndim == 1:
        present = np.unique(targets.numpy())
        predicted = logits.argmax(dim=1).numpy()
        return float(recall_score(targets.numpy(), predicted, labels=present, average="macro", zero_division=0))
    predictions, masks = logits.flatten(1) > 0, targets.flatten(1) > 0  # (N, S*S)
    overlap = (predictions & masks).sum(1)
    total = predictions.sum(1) + masks.sum(1)
    dice = torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)
    lesions = masks.any(1)
    return float(dice[lesions].mean() if lesions.any() else dice.mean())


def predict(model: Any, normalise: Normalise, dataset: Dataset, spec: TrialSpec, device: torch.device) -> Predictions:
    """Predictions for the test cases: masks at native size, or logits."""
    data = network_data(dataset, spec.task, spec.training.image_size)
    logits = predict_logits(model, normalise, data, spec.training.batch_size, device)
    case_ids = tuple(sample.case.case_id for sample in dataset.samples)
    if spec.task == "classification":
        return ClassificationPredictions(case_ids, logits.numpy(), data.targets.numpy(), dataset.classes)
    probabilities = logits.sigmoid().squeeze(1).numpy()  # (N, S, S)
    references = tuple(_reference(sample.mask) for sample in dataset.samples)
    return SegmentationPredictions(
        case_ids=case_ids,
        predictions=tuple(to_native(p, r.shape) for p, r in zip(probabilities, references, strict=True)),
        references=references,
        grid_predictions=probabilities > 0.5,
        spacings=tuple(sample.spacing for sample in dataset.samples),
    )


def to_native(probability: NDArray[np.float32], shape: tuple[int, ...]) -> Mask:
    """(S, S) probabilities of lesion -> (H, W) bool, bilinear, then threshold 0.5."""
    height, width = shape
    return np.asarray(cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5)


def _reference(mask: Mask | None) -> Mask:
    return np.zeros((0, 0), bool) if mask is None else mask
