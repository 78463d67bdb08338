"""A model name and a recipe -> a network ready to train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import file_sha256
from usfm_bench.data.dataset import Dataset
from usfm_bench.models.features import PlainFeatures, Pyramid, Standardised, feature_channels
from usfm_bench.models.hub import state_sha256
from usfm_bench.models.lora import add_lora
from usfm_bench.models.memory import out_of_memory
from usfm_bench.models.networks import Classifier, Network, SegViT, UPerNet
from usfm_bench.models.pooled_products import pool_by_products
from usfm_bench.models.probes import LinearMaps, Probe
from usfm_bench.models.weights import check_weights, load
from usfm_bench.specs.family import FAMILIES, Asked, Backbone
from usfm_bench.specs.model import ModelEntry, has_registered_hash, resolve, weight_file
from usfm_bench.specs.task import Task
from usfm_bench.specs.training import Reading, TrainingSpec

# Blocks [5, 7, 11] and [3, 5, 7, 11] of twelve, as published.
_SEGVIT_BLOCKS = (1 / 2, 2 / 3, 1.0)
_UPERNET_BLOCKS = (1 / 3, 1 / 2, 2 / 3, 1.0)
_unchanged: dict[Any, Backbone] = {}


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
        network.freeze()
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
        encoder: of a model from a weight file, `Network.shape`.
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
    entry, recipe, family = body.entry, body.recipe, body.family
    name = entry.name
    if task.name not in entry.tasks:
        raise BenchError(f"Model '{name}' does not do {task.name}.")
    patch = family.patch_of(entry.architecture)
    if patch and recipe.image_size % patch:
        raise BenchError(f"Model '{name}': image_size {recipe.image_size} is not a multiple of its patch, {patch}.")
    try:
        network = task.network(body, train, recipe)
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # timm's models differ in what they take: sizes, drop path, a single linear head.
        if not family.varied or out_of_memory(error):
            raise
        raise BenchError(f"Model '{name}' does not fit {task.name} at {recipe.image_size} px: {error}") from error
    network.undecayed = family.undecayed
    if entry.adaptation == "lora":
        add_lora(network, recipe, name)
    if recipe.deterministic:
        pool_by_products(network)
    return network


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
        self._shape = encoder
        self.family = FAMILIES[entry.family]

    def classifier(self, n_outputs: int, objective: nn.Module) -> Network:
        """The model's own pooling and a linear head of `n_outputs`; `objective` takes (B, n_outputs) and targets."""
        size = self.recipe.image_size
        if self.entry.adaptation in ("linear", "knn"):
            kind: Any = self.entry.adaptation
            backbone = self._unchanged()
            return self._described(Probe(backbone.model, kind, n_outputs, size), backbone)
        # A head on a fixed encoder gets the features that the encoder was trained to give.
        backbone = self._backbone(otherwise="own-norm" if self.entry.frozen else "published")
        backbone.model.reset_classifier(n_outputs)
        network = Classifier(backbone.model, objective)
        for head in network.heads():
            # As published: it starts close to zero, so that the first steps do not upset the encoder.
            for parameter in head.parameters():
                parameter.data.mul_(0.001)
        if self.family.varied:
            with torch.no_grad():  # what does not fit is known now, not in the first step
                backbone.model.eval()(torch.zeros(1, 3, size, size))
        return self._described(network, backbone)

    def segmenter(self, n_outputs: int = 1) -> Network:
        """The recipe's decoder on feature maps, or the family's own: `n_outputs` logits a pixel, each for itself."""
        network = self.family.segmenter(self.entry, n_outputs)
        if network is not None:
            return network
        if not self.family.is_plain(self._architecture()):
            return self._hierarchical(n_outputs)
        backbone = self._backbone(otherwise="published")
        if self.entry.adaptation == "linear":
            maps = PlainFeatures(backbone.model, (1.0,))
            channels = feature_channels(maps, self.recipe.image_size)[-1]
            return self._described(LinearMaps(maps, channels, n_outputs), backbone)
        return self._described(_plain_segmenter(self.recipe, backbone.model, n_outputs), backbone)

    def _architecture(self) -> str:
        """The entry's, or of a file whose own shapes say it, the file's."""
        if self.entry.architecture or self.entry.weights != "file":
            return self.entry.architecture
        if self._shape is None:
            check_weights(self.entry, allow_hash=self._allow_hash)
        shape = self._shape or self.family.shape(weight_file(self.entry))
        return str(shape.get("architecture", ""))

    def _hierarchical(self, n_outputs: int) -> Network:
        if self._shape is None:
            check_weights(self.entry, allow_hash=self._allow_hash)
        size = self.recipe.image_size
        sizes = {"img_size": size} if self.family.is_sized(self._architecture(), size) else {}
        maps = self.family.stages(self.entry, self._shape, **sizes)
        channels = feature_channels(maps.model, self.recipe.image_size)[-4:]
        if self.entry.adaptation == "linear":
            return self._described(LinearMaps(maps.model, channels[-1], n_outputs), maps)
        return self._described(UPerNet(_Last(maps.model), nn.Identity(), channels, None, n_outputs), maps)

    def _backbone(self, *, otherwise: Reading) -> Backbone:
        recipe = self.recipe
        drop_path = 0.0 if self.entry.frozen else recipe.drop_path
        asked = Asked(recipe.image_size, drop_path, recipe.reading, otherwise, shape=self._shape)
        return load(self.entry, asked, allow_hash=self._allow_hash)

    def _unchanged(self) -> Backbone:
        """What a probe reads: nothing changes it, so that trials one after the other share what a file gives."""
        if self.entry.weights != "file" or self._shape is not None:
            return self._backbone(otherwise="own-norm")
        check_weights(self.entry, allow_hash=self._allow_hash)
        entry = replace(self.entry, name="", title="", adaptation="full")
        key = repr(entry), self.recipe.image_size, self.recipe.reading, file_sha256(weight_file(entry))
        if key not in _unchanged:
            _unchanged.clear()  # one: it may be large
            _unchanged[key] = self._backbone(otherwise="own-norm")
        return _unchanged[key]

    def _described(self, network: Network, backbone: Backbone) -> Network:
        network.reading, network.mean, network.std = backbone.reading, backbone.mean, backbone.std
        network.shape = backbone.shape
        if self.entry.weights == "hub":
            network.weight_hash = state_sha256(network, without=("head", "decoder", "pyramid", "auxiliary"))
        return network


def _plain_segmenter(recipe: TrainingSpec, model: Any, n_outputs: int) -> Network:
    is_segvit = recipe.decoder == "segvit"
    plain = PlainFeatures(model, _SEGVIT_BLOCKS if is_segvit else _UPERNET_BLOCKS)
    channels = feature_channels(plain, recipe.image_size)
    taps = Standardised(channels) if recipe.taps == "standardised" else nn.Identity()
    if is_segvit:
        return SegViT(plain, taps, channels, model, n_outputs)
    pyramid: nn.Module = Pyramid(channels[0])
    if recipe.taps == "standardised":
        pyramid = nn.Sequential(taps, pyramid)
    return UPerNet(plain, pyramid, channels, model, n_outputs)


class _Last(nn.Module):
    """The last four maps of a backbone: strides 4 to 32."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.features(images)[-4:])
