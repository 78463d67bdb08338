"""What a pre-training leaves behind: weights, their card, and the history."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_atomic, write_text
from usfm_bench.pretraining.card import Card, card_path
from usfm_bench.pretraining.data import PretrainImages
from usfm_bench.specs.pretraining import PretrainSpec


def write_weights(
    out: Path,
    encoder: Mapping[str, Tensor],
    spec: PretrainSpec,
    data: PretrainImages,
    history: Sequence[Mapping[str, float]],
    **facts: Any,
) -> None:
    """Write a weight file, in the format that its name says, and its card.

    Args:
        out: the weight file.
        encoder: its content.
        spec: how it was made.
        data: what it saw.
        history: rows of the history; empty: no step was taken.
        facts: other fields of the card.

    Raises:
        BenchError: no space, no permission.
    """
    content = _bytes(out, encoder)
    last = history[-1] if history else {}
    card = Card(
        recipe=spec,
        recipe_hash=spec.hash,
        weight_hash=hashlib.sha256(content).hexdigest(),
        sources=data.sources,
        seen=tuple(sorted(set(data.pixel_hashes))),
        final={key: None if math.isnan(value) else value for key, value in last.items()},
        **facts,
    )
    write_text(card_path(out), card.model_dump_json(indent=1))  # first: weights are never there without it
    write_atomic(out, lambda stream: stream.write(content))


def write_history(out: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the history as CSV beside the weight file."""
    lines = [",".join(history[0])] if history else []
    lines += [",".join(f"{value:.9g}" for value in row.values()) for row in history]
    write_text(out.with_suffix(".csv"), "\n".join([*lines, ""]))


def open_board(folder: Path | None) -> Any:
    """A writer of TensorBoard's files, or None where none are wanted.

    Raises:
        BenchError: the package is missing.
    """
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BenchError("--tensorboard needs the package tensorboard: pip install tensorboard.") from None
    return SummaryWriter(folder)


def _bytes(out: Path, encoder: Mapping[str, Tensor]) -> bytes:
    if out.suffix == ".safetensors":
        return bytes(safetensors_bytes(dict(encoder), {"format": "pt"}))
    content = io.BytesIO()
    torch.save(encoder, content)
    return content.getvalue()
