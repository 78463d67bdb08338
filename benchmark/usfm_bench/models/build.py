"""A model name and a recipe -> a network ready to train."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import timm
import torch
from torch import Tensor, nn

from usfm_bench.core.errors import BenchError, WeightsMissingError
from usfm_bench.core.files import file_sha256
from usfm_bench.data.dataset import Dataset
from usfm_bench.models.features import PlainFeatures, Pyramid, feature_channels
from usfm_bench.models.memory import out_of_memory
from usfm_bench.models.networks import Classifier, Network, SegViT, UNet, UPerNet
from usfm_bench.models.weights import empty_encoder, load_encoder
from usfm_bench.specs.model import ModelEntry, has_registered_hash, resolve, weight_file
from usfm_bench.specs.task import Task
from usfm_bench.specs.training import Reading, TrainingSpec

# Blocks [5, 7, 11] and [3, 5, 7, 11] of twelve, as published.
_SEGVIT_BLOCKS = (1 / 2, 2 / 3, 1.0)
_UPERNET_BLOCKS = (1 / 3, 1 / 2, 2 / 3, 1.0)


def build_model(name: str, task: Task, train: Dataset, recipe: TrainingSpec, *, allow_hash: bool = False) -> Network:
    """The network called `name`, for one task and input size.

    Args:
        name: see `usfm-bench models list`.
        task: says what stands on the encoder, and what is minimised.
        train: training cases: which classes there are, and how many of each.
        recipe: input size, decoder, drop path and loss.
        allow_hash: take a weight file with another sha256 than the registry's.

    Raises:
        WeightsMissingError: the weights that the name promises cannot be had.
        WeightsError: they do not fit, or are not those of the registry.
        BenchError: the model does not fit the task or the input size.
    """
    entry = resolve(name)
    network = build_network(ModelBody(entry, recipe, allow_hash=allow_hash), task, train)
    if entry.weights == "file":
        network.weight_hash = file_sha256(weight_file(entry))
        network.registered_hash = None if has_registered_hash(entry) else entry.sha256
    if entry.frozen:
        network.freeze_backbone()
    return network


def empty_model(
    name: str, task: Task, train: Dataset, recipe: TrainingSpec, *, encoder: dict[str, Any] | None = None
) -> Network:
    """As `build_model`, with random weights: nothing is read or downloaded.

    Args:
        name: see `usfm-bench models list`.
        task: says what stands on the encoder.
        train: says which classes there are.
        recipe: input size and decoder.
        encoder: of a model from a weight file, `Network.encoder`.
    """
    entry = resolve(name)
    if entry.weights == "hub":
        entry = replace(entry, weights="scratch")
    return build_network(ModelBody(entry, recipe, encoder=encoder), task, train)


def build_network(body: ModelBody, task: Task, train: Dataset) -> Network:
    """What a task builds on a model.

    Raises:
        BenchError: the model does not fit the task or the input size.
    """
    entry, recipe = body.entry, body.recipe
    name = entry.name
    if task.name not in entry.tasks:
        raise BenchError(f"Model '{name}' does not do {task.name}.")
    try:
        return task.network(body, train, recipe)
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        # timm's models differ in what they take: sizes, drop path, a single linear head.
        if entry.family != "timm" or out_of_memory(error):
            raise
        raise BenchError(f"Model '{name}' does not fit {task.name} at {recipe.image_size} px: {error}") from error


class ModelBody:
    """A model without its head: what a task builds its network on."""

    def __init__(
        self,
        entry: ModelEntry,
        recipe: TrainingSpec,
        *,
        allow_hash: bool = False,
        encoder: dict[str, Any] | None = None,
    ) -> None:
        self.entry, self.recipe, self._allow_hash = entry, recipe, allow_hash
        self._encoder, self._is_empty = encoder, encoder is not None
        self._reading: Reading | None = None

    def classifier(self, n_outputs: int, objective: nn.Module) -> Network:
        """The model's own pooling and a linear head of `n_outputs`; `objective` takes (B, n_outputs) and targets."""
        size = self.recipe.image_size
        # A head on a fixed encoder gets the features that the encoder was trained to give.
        backbone = self._backbone(otherwise="own-norm" if self.entry.frozen else "published")
        backbone.reset_classifier(n_outputs)
        _scale_head(backbone)
        if self.entry.family == "timm":
            with torch.no_grad():  # what does not fit is known now, not in the first step
                backbone.eval()(torch.zeros(1, 3, size, size))
        return self._described(Classifier(backbone, objective))

    def segmenter(self, n_outputs: int = 1) -> Network:
        """The decoder that the recipe names on feature maps, `n_outputs` logits a pixel, each for itself."""
        entry = self.entry
        if entry.family == "unet":
            weights = "imagenet" if entry.weights == "hub" else None
            unet: UNet = from_hub(entry, lambda: UNet(entry.architecture, weights, n_outputs))
            if weights:
                unet.weight_hash = _state_sha256(unet.unet.encoder)
            return unet
        has_blocks = entry.weights == "file" or entry.family == "usfm" or is_plain(entry)
        backbone = self._backbone(otherwise="published") if has_blocks else None
        return self._described(_segmenter(entry, self.recipe, backbone, n_outputs))

    def _backbone(self, *, otherwise: Reading) -> Any:
        entry, recipe = self.entry, self.recipe
        if entry.weights != "file":
            return _backbone(entry, recipe)
        _check_size(entry, recipe)
        if self._is_empty:
            return empty_encoder(self._encoder or {}, recipe.image_size)
        backbone, self._reading, self._encoder = load_encoder(
            entry,
            image_size=recipe.image_size,
            reading=recipe.reading,
            otherwise=otherwise,
            drop_path=_drop_path(entry, recipe),
            allow_hash=self._allow_hash,
        )
        return backbone

    def _described(self, network: Network) -> Network:
        network.reading, network.encoder = self._reading, self._encoder
        if self.entry.family == "timm" and self.entry.weights == "hub":
            config = timm.get_pretrained_cfg(self.entry.architecture)
            network.mean, network.std = config.mean, config.std
            network.weight_hash = _state_sha256(network, without=("head", "decoder", "pyramid", "auxiliary"))
        return network


def _state_sha256(module: nn.Module, without: tuple[str, ...] = ()) -> str:
    """sha256 over a module's tensors; new weights under the same hub name do not go unnoticed."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        if not without or not any(part.startswith(without) for part in key.split(".")):
            digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _segmenter(entry: ModelEntry, training: TrainingSpec, backbone: Any, n_outputs: int) -> Network:
    size = training.image_size
    if backbone is None:
        features = from_hub(
            entry, lambda: timm.create_model(entry.architecture, pretrained=entry.weights == "hub", features_only=True)
        )
        channels = feature_channels(features, size)[-4:]
        return UPerNet(_Last(features), nn.Identity(), channels, None, n_outputs)
    if training.decoder == "segvit":
        plain = PlainFeatures(backbone, _SEGVIT_BLOCKS)
        return SegViT(plain, feature_channels(plain, size), backbone, n_outputs)
    plain = PlainFeatures(backbone, _UPERNET_BLOCKS)
    pyramid = Pyramid(feature_channels(plain, size)[0])
    return UPerNet(plain, pyramid, feature_channels(plain, size), backbone, n_outputs)


class _Last(nn.Module):
    """The last four maps of a backbone: strides 4 to 32."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.features(images)[-4:])


def _check_size(entry: ModelEntry, training: TrainingSpec) -> None:
    if training.image_size % 16:
        raise BenchError(f"Model '{entry.name}': image_size {training.image_size} is not a multiple of its patch, 16.")


def _drop_path(entry: ModelEntry, training: TrainingSpec) -> float:
    return 0.0 if entry.frozen else training.drop_path


def _backbone(entry: ModelEntry, training: TrainingSpec) -> Any:
    settings: dict[str, Any] = {"drop_path_rate": _drop_path(entry, training) or None}  # timm drops what is None
    if entry.family == "usfm":
        _check_size(entry, training)
    if entry.family == "usfm" or is_plain(entry):
        settings["img_size"] = training.image_size
    return from_hub(
        entry,
        lambda: timm.create_model(entry.architecture, pretrained=entry.weights == "hub", num_classes=0, **settings),
    )


def is_plain(entry: ModelEntry) -> bool:
    """Whether a timm model is a transformer without stages, which takes `img_size` and has `blocks`."""
    return entry.architecture.startswith(("vit_", "deit", "beit", "eva", "usfm_"))


def _scale_head(backbone: Any) -> None:
    # As published: the classifier starts close to zero, so that the first steps do not upset the encoder.
    heads = backbone.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        for parameter in head.parameters():
            parameter.data.mul_(0.001)


def from_hub(entry: ModelEntry, build: Any) -> Any:
    """What `build` gives; where it downloads weights, a failure of the hub is an error in words.

    Raises:
        WeightsMissingError: they could not be downloaded.
    """
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
