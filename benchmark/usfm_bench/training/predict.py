"""What a model says of images, and how validation judges it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from torch import Tensor

from usfm_bench.data.dataset import Dataset
from usfm_bench.data.loaders import NetworkData, network_data
from usfm_bench.data.resize import resample
from usfm_bench.data.sample import Mask
from usfm_bench.data.transforms import Normalise
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.tasks.predictions import ClassificationPredictions, Predictions, SegmentationPredictions


@torch.inference_mode()
def predict_logits(
    model: Any, normalise: Normalise, data: NetworkData, batch_size: int, device: torch.device
) -> Tensor:
    """Logits of every image, on the CPU in float32: (N, 1, S, S) for segmentation, (N, C) for classification."""
    model.eval()
    order = np.arange(len(data))
    return torch.cat([model(normalise(x)).float().cpu() for x, _ in data.batches(batch_size, device, order)])


@torch.inference_mode()
def validate(model: Any, normalise: Normalise, data: NetworkData, batch_size: int, device: torch.device) -> float:
    """What chooses the checkpoint: mean Dice on the network's grid, or balanced accuracy, in [0, 1].

    Pixels are counted on the device; three numbers an image leave it. Classes absent from the validation images are
    left out of the balanced accuracy.
    """
    if data.targets.ndim == 1:
        predicted = predict_logits(model, normalise, data, batch_size, device).argmax(dim=1).numpy()
        labels = data.targets.numpy()
        return float(recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0))
    model.eval()
    batches = data.batches(batch_size, device, np.arange(len(data)))
    return mean_dice(torch.cat([overlap_counts(model(normalise(x)), masks) for x, masks in batches]))


def overlap_counts(logits: Tensor, masks: Tensor) -> Tensor:
    """(B, 1, S, S) logits and masks -> (B, 3) pixels in both, in the prediction, in the mask; on their device."""
    said, true = logits.flatten(1) > 0, masks.flatten(1) > 0  # (B, S*S)
    return torch.stack([(said & true).sum(1), said.sum(1), true.sum(1)], dim=1)


def mean_dice(counts: Tensor) -> float:
    """(N, 3) counts -> mean Dice over the images with a lesion where there are any.

    An empty prediction on a normal image would outweigh every lesion.
    """
    both, said, true = counts.cpu().unbind(1)
    dice = torch.where(said + true > 0, 2 * both / (said + true).clamp(min=1), 1.0)
    lesions = true > 0
    return float(dice[lesions].mean() if lesions.any() else dice.mean())


def predict(
    model: Any,
    normalise: Normalise,
    dataset: Dataset,
    spec: TrialSpec,
    device: torch.device,
    *,
    val: NetworkData | None = None,
) -> Predictions:
    """Predictions for the test cases: masks at native size, or logits.

    Args:
        model: trained.
        normalise: of its inputs.
        dataset: the test cases.
        spec: of the trial.
        device: where the model is.
        val: validation cases, whose logits are kept beside those of classification, to tune decisions on.
    """
    data, batch_size = network_data(dataset, spec.task, spec.training.image_size), spec.training.batch_size
    logits = predict_logits(model, normalise, data, batch_size, device)
    case_ids = tuple(sample.case.case_id for sample in dataset.samples)
    if spec.task == "classification":
        found = ClassificationPredictions(case_ids, logits.numpy(), data.targets.numpy(), dataset.classes)
        if val is None:
            return found
        val_logits = predict_logits(model, normalise, val, batch_size, device).numpy()
        return replace(found, val_logits=val_logits, val_labels=val.targets.numpy())
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
    """(S, S) probabilities of lesion -> (H, W) bool: bilinear, by area along a side that shrinks; above 0.5."""
    return np.asarray(resample(probability, shape, cv2.INTER_LINEAR) > 0.5)


def _reference(mask: Mask | None) -> Mask:
    return np.zeros((0, 0), bool) if mask is None else mask
