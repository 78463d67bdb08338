"""A model name and a recipe -> a network ready to train."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from usfm_bench.catalog import ModelEntry, file_sha256, resolve, weight_file
from usfm_bench.config import Task, TrainingSpec
from usfm_bench.errors import BenchError, WeightsMissingError
from usfm_bench.models.features import PlainFeatures, Pyramid, feature_channels
from usfm_bench.models.networks import Classifier, Network, SegViT, UNet, UPerNet
from usfm_bench.models.objectives import ClassificationLoss
from usfm_bench.models.weights import load_backbone

# Blocks [5, 7, 11] and [3, 5, 7, 11] of twelve, as published.
_SEGVIT_BLOCKS = (1 / 2, 2 / 3, 1.0)
_UPERNET_BLOCKS = (1 / 3, 1 / 2, 2 / 3, 1.0)


def build_model(
    name: str,
    task: Task,
    *,
    n_classes: int,
    training: TrainingSpec,
    class_counts: NDArray[np.int64] | None = None,
) -> Network:
    """The network called `name`, for one task and input size.

    Args:
        name: see `usfm-bench models list`.
        task: segmentation (one logit a pixel) or classification.
        n_classes: classes to tell apart in classification.
        training: input size, decoder, drop path and loss.
        class_counts: (C,) training images of each class; None: as many of each.

    Raises:
        WeightsMissingError: the weights that the name promises cannot be had.
        BenchError: the model does not fit the task or the input size.
    """
    entry = resolve(name)
    if task not in entry.tasks:
        raise BenchError(f"Model '{name}' does not do {task}.")
    try:
        network = _build(entry, task, n_classes, training, class_counts)
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        # timm's models differ in what they take: sizes, drop path, a single linear head.
        if entry.family != "timm" or isinstance(error, torch.OutOfMemoryError):
            raise
        raise BenchError(f"Model '{name}' does not fit {task} at {training.image_size} px: {error}") from error
    if entry.weights == "file":
        network.weight_hash = file_sha256(weight_file(entry))
    if entry.frozen:
        network.freeze_backbone()
    return network


def _build(
    entry: ModelEntry, task: Task, n_classes: int, training: TrainingSpec, class_counts: NDArray[np.int64] | None
) -> Network:
    if entry.family == "unet":
        weights = "imagenet" if entry.weights == "hub" else None
        unet: UNet = _from_hub(entry, lambda: UNet(entry.architecture, weights))
        if weights:
            unet.weight_hash = state_sha256(unet.unet.encoder)
        return unet
    if task == "segmentation":
        network: Network = _segmenter(entry, training)
    else:
        backbone = _backbone(entry, training)
        backbone.reset_classifier(n_classes)
        _scale_head(backbone)
        if entry.family == "timm":
            with torch.no_grad():  # what does not fit is known now, not in the first step
                backbone.eval()(torch.zeros(1, 3, training.image_size, training.image_size))
        counts = np.ones(n_classes, np.int64) if class_counts is None else class_counts
        network = Classifier(backbone, ClassificationLoss(counts, training))
    if entry.family == "timm" and entry.weights == "hub":
        config = timm.get_pretrained_cfg(entry.architecture)
        network.mean, network.std = config.mean, config.std
        network.weight_hash = state_sha256(network, without=("head", "decoder", "pyramid", "auxiliary"))
    return network


def state_sha256(module: nn.Module, without: tuple[str, ...] = ()) -> str:
    """sha256 over a module's tensors; new weights under the same hub name do not go unnoticed."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        if not without or not any(part.startswith(without) for part in key.split(".")):
            digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _segmenter(entry: ModelEntry, training: TrainingSpec) -> Network:
    size = training.image_size
    if entry.family == "timm" and not _is_plain(entry):
        features = _from_hub(
            entry, lambda: timm.create_model(entry.architecture, pretrained=entry.weights == "hub", features_only=True)
        )
        channels = feature_channels(features, size)[-4:]
        return UPerNet(_Last(features), nn.Identity(), channels, None)
    backbone = _backbone(entry, training)
    if training.decoder == "segvit":
        plain = PlainFeatures(backbone, _SEGVIT_BLOCKS)
        return SegViT(plain, feature_channels(plain, size), backbone)
    plain = PlainFeatures(backbone, _UPERNET_BLOCKS)
    pyramid = Pyramid(feature_channels(plain, size)[0])
    return UPerNet(plain, pyramid, feature_channels(plain, size), backbone)


class _Last(nn.Module):
    """The last four maps of a backbone: strides 4 to 32."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.features(images)[-4:])


def _backbone(entry: ModelEntry, training: TrainingSpec) -> Any:
    size = training.image_size
    drop_path = 0.0 if entry.frozen else training.drop_path
    if entry.family == "usfm" and size % 16:
        raise BenchError(f"Model '{entry.name}': image_size {size} is not a multiple of its patch, 16.")
    if entry.weights == "file":
        return load_backbone(weight_file(entry), image_size=size, drop_path=drop_path)
    settings: dict[str, Any] = {"drop_path_rate": drop_path or None}  # timm drops what is None
    if entry.family == "usfm" or _is_plain(entry):
        settings["img_size"] = size
    return _from_hub(
        entry,
        lambda: timm.create_model(entry.architecture, pretrained=entry.weights == "hub", num_classes=0, **settings),
    )


def _is_plain(entry: ModelEntry) -> bool:
    """Whether a timm model is a transformer without stages, which takes `img_size` and has `blocks`."""
    return entry.architecture.startswith(("vit_", "deit", "beit", "eva", "usfm_"))


def _scale_head(backbone: Any) -> None:
    # As published: the classifier starts close to zero, so that the first steps do not upset the encoder.
    heads = backbone.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        for parameter in head.parameters():
            parameter.data.mul_(0.001)


def _from_hub(entry: ModelEntry, build: Any) -> Any:
    if entry.weights != "hub":
        return build()
    try:
        return build()
    except (AssertionError, TypeError):
        raise  # not the hub's: the model does not take these settings
    except Exception as error:  # the hub's client raises many kinds
        raise WeightsMissingError(
            f"the pre-trained weights of '{entry.name}' could not be downloaded "
            f"({type(error).__name__}). Fetch them once where there is a network (the hub's cache keeps them), "
            "or use the same model from scratch."
        ) from error
