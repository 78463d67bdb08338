"""Low-rank adaptation (LoRA; Hu et al. (2022), arXiv:2106.09685) of any encoder with attention, by the library peft."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from usfm_bench.core.errors import BenchError
from usfm_bench.core.words import counted
from usfm_bench.models.networks import Network
from usfm_bench.specs.training import TrainingSpec

_NAMED = 6  # layers in a message


def add_lora(network: Network, recipe: TrainingSpec, name: str) -> None:
    """Put a trained map of low rank beside the layers of the encoder that the recipe names.

    The network computes what it did before: one of the two factors is zero.

    Args:
        network: whose encoder it is; `freeze` leaves the maps trainable.
        recipe: `lora_rank`, `lora_alpha` and `lora_targets`.
        name: of the model, for messages.

    Raises:
        BenchError: peft is not installed, or the encoder has no such layers; names those that it has.
    """
    found = [
        layer
        for layer, module in network.encoder.named_modules()
        if f".{layer}".endswith(tuple(f".{target}" for target in recipe.lora_targets))
        and isinstance(module, nn.Linear | nn.Conv2d)
    ]
    if not found:
        raise BenchError(
            f"Model '{name}': its encoder has no layer called {' or '.join(recipe.lora_targets)}, so it may have no "
            f"attention, which LoRA adapts. {_others(network.encoder)}Name layers with `lora_targets` in a profile of "
            f"your own, or use {name.rpartition('@')[0]}@full or @frozen."
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise BenchError(f"Model '{name}' needs the package peft: pip install 'usfm-bench[lora]'.") from None
    config = LoraConfig(r=recipe.lora_rank, lora_alpha=recipe.lora_alpha, target_modules=found)
    inject_adapter_in_model(config, network.encoder)
    for module in network.encoder.modules():
        if hasattr(module, "qkv_bias_separate"):
            # BEiT and EVA read `qkv.weight` otherwise and never call the layer, whose map would be without effect.
            module.qkv_bias_separate = True  # type: ignore[assignment]  # a plain attribute
    network.adapters = [part for layer, part in network.encoder.named_modules() if layer.endswith(("lora_A", "lora_B"))]
    _check_used(network, [f"{layer}.lora_A" for layer in found], recipe, name)


def _check_used(network: Network, layers: Iterable[str], recipe: TrainingSpec, name: str) -> None:
    """Refuse an encoder that goes around some of the layers.

    Raises:
        BenchError: names the layers.
    """
    called: set[str] = set()
    parts = {layer: network.encoder.get_submodule(f"{layer}.default") for layer in layers}
    hooks = [part.register_forward_hook(lambda *_, layer=layer: called.add(layer)) for layer, part in parts.items()]
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, recipe.image_size, recipe.image_size))
    network.train(training)
    for hook in hooks:
        hook.remove()
    if unused := [layer.removesuffix(".lora_A") for layer in parts if layer not in called]:
        raise BenchError(
            f"Model '{name}': its encoder reads the weights of {counted([len(unused)], 'layer')} and does not call "
            f"them, so LoRA would be without effect there: {', '.join(unused[:_NAMED])}. Use @full or @frozen."
        )


def _others(encoder: nn.Module) -> str:
    names = [layer for layer, module in encoder.named_modules() if isinstance(module, nn.Linear | nn.Conv2d) and layer]
    return f"It has, among others, {', '.join(names[-_NAMED:])}. " if names else ""
