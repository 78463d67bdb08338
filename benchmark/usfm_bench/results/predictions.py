"""`predictions.npz`: what a model said, small enough to keep, so that any metric can be computed again.

Masks of all cases stand one behind the other as packed bits; `shape` says where each ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_atomic
from usfm_bench.data.sample import Mask, Spacing
from usfm_bench.tasks.predictions import ClassificationPredictions, Predictions, SegmentationPredictions


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write `predictions.npz` atomically."""
    arrays: dict[str, Any] = (
        _segmentation_arrays(predictions)
        if isinstance(predictions, SegmentationPredictions)
        else _classification_arrays(predictions)
    )
    write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote.

    Raises:
        BenchError: missing or damaged file.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return _segmentation_from(arrays) if "shape" in arrays else _classification_from(arrays)
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise BenchError(f"{path}: missing or damaged ({error}). Run the trial again with --fresh.") from None


def load_spacings(path: Path) -> dict[str, Spacing | None]:
    """Spacing of each case in a `predictions.npz` of segmentation, without its masks.

    Raises:
        BenchError: missing or damaged file.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return dict(zip(arrays["case_id"].tolist(), _spacings_from(arrays), strict=True))
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise BenchError(f"{path}: missing or damaged ({error}). Run the trial again with --fresh.") from None


def _classification_arrays(predictions: ClassificationPredictions) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {
        "case_id": np.array(predictions.case_ids),
        "logits": predictions.logits,
        "labels": predictions.labels,
        "classes": np.array(predictions.classes),
    }
    if predictions.val_logits is not None and predictions.val_labels is not None:
        arrays |= {"val_logits": predictions.val_logits, "val_labels": predictions.val_labels}
    return arrays


def _classification_from(arrays: np.lib.npyio.NpzFile) -> ClassificationPredictions:
    return ClassificationPredictions(
        tuple(arrays["case_id"].tolist()),
        arrays["logits"],
        arrays["labels"],
        tuple(arrays["classes"].tolist()),
        val_logits=arrays.get("val_logits"),
        val_labels=arrays.get("val_labels"),
    )


def _segmentation_arrays(predictions: SegmentationPredictions) -> dict[str, NDArray[np.generic]]:
    unknown = (float("nan"), float("nan"))
    return {
        "case_id": np.array(predictions.case_ids),
        "shape": np.array([mask.shape for mask in predictions.references], dtype=np.int32).reshape(-1, 2),
        "prediction": _pack(predictions.predictions),
        "reference": _pack(predictions.references),
        "grid_shape": np.array(predictions.grid_predictions.shape, dtype=np.int32),
        "grid_prediction": np.packbits(predictions.grid_predictions),
        "spacing": np.array([spacing or unknown for spacing in predictions.spacings], dtype=np.float64),
    }


def _segmentation_from(arrays: np.lib.npyio.NpzFile) -> SegmentationPredictions:
    shapes = [(int(h), int(w)) for h, w in arrays["shape"]]
    grid_shape = tuple(arrays["grid_shape"].tolist())
    grid = np.unpackbits(arrays["grid_prediction"], count=int(np.prod(grid_shape))).astype(bool)
    return SegmentationPredictions(
        case_ids=tuple(arrays["case_id"].tolist()),
        predictions=_unpack(arrays["prediction"], shapes),
        references=_unpack(arrays["reference"], shapes),
        grid_predictions=grid.reshape(grid_shape),
        spacings=_spacings_from(arrays),
    )


def _spacings_from(arrays: np.lib.npyio.NpzFile) -> tuple[Spacing | None, ...]:
    return tuple(None if np.isnan(s).any() else Spacing(*map(float, s)) for s in arrays["spacing"])


def _pack(masks: Sequence[Mask]) -> NDArray[np.uint8]:
    return np.packbits(np.concatenate([mask.ravel() for mask in masks]))


def _unpack(bits: NDArray[np.uint8], shapes: list[tuple[int, int]]) -> tuple[Mask, ...]:
    sizes = [h * w for h, w in shapes]
    flat = np.unpackbits(bits, count=sum(sizes)).astype(bool)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
