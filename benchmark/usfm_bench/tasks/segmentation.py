"""Segmentation: which pixels are the lesion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.data.resize import resample, resize_mask
from usfm_bench.data.sample import Mask, Spacing
from usfm_bench.metrics.definitions import Definition
from usfm_bench.metrics.operating import Tuned
from usfm_bench.metrics.segmentation import ORDER, primary_definitions, score_segmentation
from usfm_bench.specs.task import TASKS, Columns, Predictions, Task

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from usfm_bench.data.dataset import Dataset
    from usfm_bench.models.build import ModelBody
    from usfm_bench.models.networks import Network
    from usfm_bench.specs.training import TrainingSpec


@dataclass(frozen=True)
class SegmentationPredictions:
    """Predicted and reference masks of the test cases."""

    case_ids: tuple[str, ...]
    predictions: tuple[Mask, ...]
    """(H, W) each, at native size."""
    references: tuple[Mask, ...]
    """(H, W) each, at native size."""
    grid_predictions: NDArray[np.bool_]
    """(N, S, S), on the network's grid."""
    spacings: tuple[Spacing | None, ...]
    """In millimetres."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Masks of all cases stand one behind the other as packed bits; `shape` says where each ends."""
        unknown = (float("nan"), float("nan"))
        return {
            "case_id": np.array(self.case_ids),
            "shape": np.array([mask.shape for mask in self.references], dtype=np.int32).reshape(-1, 2),
            "prediction": _pack(self.predictions),
            "reference": _pack(self.references),
            "grid_shape": np.array(self.grid_predictions.shape, dtype=np.int32),
            "grid_prediction": np.packbits(self.grid_predictions),
            "spacing": np.array([spacing or unknown for spacing in self.spacings], dtype=np.float64),
        }


def with_masks(predictions: Predictions) -> SegmentationPredictions | None:
    """The same where they are masks; None where they are another task's."""
    return predictions if isinstance(predictions, SegmentationPredictions) else None


class Segmentation(Task):
    """One structure, the lesion, against everything else; Table 1 of the paper."""

    name = "segmentation"
    short = "seg"
    title = "Comparison results on segmentation tasks"
    of = "masks"
    needs = "mask"
    wants = "maps"
    per_case = True
    own_suite = "clinical-seg"
    order = ORDER
    columns = order[:7]
    with_sd = ("DSC", "HD95")
    headline_ids = ("dsc.native@1", "hd95.pooled.native.px@1")
    shared = ("lesion",)
    summary = ("DSC",)
    panels = ("DSC", "HD95")
    by_case = "DSC"
    browsed = ("DSC", "HD95", "SEN", "PREC", "NSD")
    figures = ("forest", "distribution", "lesion_size", "paired", "training", "sheet")
    validation = "Validation DSC on the network's grid (%)"
    augmented = "mask"

    def targets(self, dataset: Dataset, size: int) -> NDArray[np.uint8]:
        """(N, 1, S, S) masks in {0, 1}."""
        masks = [resize_mask(_mask(s.mask, s.case.case_id), size) for s in dataset.samples]
        return np.stack(masks).astype(np.uint8)[:, None]

    def network(self, body: ModelBody, train: Dataset, recipe: TrainingSpec) -> Network:
        """One logit a pixel."""
        return body.segmenter()

    def after_augmentation(self, targets: Tensor) -> Tensor:
        """A rotated mask has soft borders."""
        return (targets > 0.5).float()

    def validate(self, outputs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Mean Dice on the network's grid. Pixels are counted on the device; three numbers an image leave it."""
        import torch

        return mean_dice(torch.cat([overlap_counts(logits, masks) for logits, masks in outputs]))

    def predict(
        self, logits: Tensor, dataset: Dataset, val: tuple[Tensor, Tensor] | None = None
    ) -> SegmentationPredictions:
        """(N, 1, S, S) logits -> masks at native size."""
        probabilities = logits.sigmoid().squeeze(1).numpy()  # (N, S, S)
        references = tuple(_mask(sample.mask, sample.case.case_id) for sample in dataset.samples)
        return SegmentationPredictions(
            case_ids=tuple(sample.case.case_id for sample in dataset.samples),
            predictions=tuple(to_native(p, r.shape) for p, r in zip(probabilities, references, strict=True)),
            references=references,
            grid_predictions=probabilities > 0.5,
            spacings=tuple(sample.spacing for sample in dataset.samples),
        )

    def read_predictions(self, arrays: Mapping[str, NDArray[Any]]) -> SegmentationPredictions | None:
        """Arrays with packed masks."""
        if "shape" not in arrays:
            return None
        shapes = [(int(h), int(w)) for h, w in arrays["shape"]]
        grid_shape = tuple(arrays["grid_shape"].tolist())
        grid = np.unpackbits(arrays["grid_prediction"], count=int(np.prod(grid_shape))).astype(bool)
        return SegmentationPredictions(
            case_ids=tuple(arrays["case_id"].tolist()),
            predictions=_unpack(arrays["prediction"], shapes),
            references=_unpack(arrays["reference"], shapes),
            grid_predictions=grid.reshape(grid_shape),
            spacings=tuple(None if np.isnan(s).any() else Spacing(*map(float, s)) for s in arrays["spacing"]),
        )

    def definitions(self, predictions: Predictions) -> dict[str, str]:
        """The primary ones; millimetres only where a spacing is known."""
        return {d.column: d.id for d in primary_definitions(_masks(predictions).spacings)}

    def score(
        self,
        predictions: Predictions,
        who: pd.DataFrame,
        definitions: Sequence[Definition] | None = None,
        tuned: Tuned | None = None,
    ) -> pd.DataFrame:
        """Every metric of every case."""
        import pandas as pd

        kept = _masks(predictions)
        scores = score_segmentation(
            kept.predictions,
            kept.references,
            definitions=definitions,
            spacings=kept.spacings,
            grid_preds=list(kept.grid_predictions),
            case_ids=list(kept.case_ids),
        ).drop(columns="case_id")
        return pd.concat([who, scores], axis=1)

    def summarise(
        self, cases: pd.DataFrame, definitions: Mapping[str, str], classes: tuple[str, ...]
    ) -> dict[str, Any]:
        """Means over lesion cases; what is undefined is in no mean, and `n_undefined` says of how many cases."""
        lesions = cases[cases["lesion"]]
        undefined = {name: int(lesions[name].isna().sum()) for name in definitions}
        return {name: _mean(lesions[name]) for name in definitions} | {
            "n_lesion_cases": len(lesions),
            "n_missed": int(cases["missed"].sum()),
            "n_false_alarms": int(cases["false_alarm"].sum()),
            "n_undefined": {name: n for name, n in undefined.items() if n},
        }

    def counted(self, cases: Columns, definition: Definition) -> NDArray[np.bool_]:
        """Images with a lesion, or all where the definition says so."""
        return np.asarray(cases["lesion"], bool) | (definition.over == "all")


TASKS.register("segmentation")(Segmentation())


def overlap_counts(logits: Tensor, masks: Tensor) -> Tensor:
    """(B, 1, S, S) logits and masks -> (B, 3) pixels in both, in the prediction, in the mask; on their device."""
    import torch

    said, true = logits.flatten(1) > 0, masks.flatten(1) > 0  # (B, S*S)
    return torch.stack([(said & true).sum(1), said.sum(1), true.sum(1)], dim=1)


def mean_dice(counts: Tensor) -> float:
    """(N, 3) counts -> mean Dice over the images with a lesion where there are any.

    An empty prediction on a normal image would outweigh every lesion.
    """
    import torch

    both, said, true = counts.cpu().unbind(1)
    dice = torch.where(said + true > 0, 2 * both / (said + true).clamp(min=1), 1.0)
    lesions = true > 0
    return float(dice[lesions].mean() if lesions.any() else dice.mean())


def to_native(probability: NDArray[np.float32], shape: tuple[int, ...]) -> Mask:
    """(S, S) probabilities of lesion -> (H, W) bool: bilinear, by area along a side that shrinks; above 0.5."""
    return np.asarray(resample(probability, shape, cv2.INTER_LINEAR) > 0.5)


def _masks(predictions: Predictions) -> SegmentationPredictions:
    assert isinstance(predictions, SegmentationPredictions)
    return predictions


def _mask(mask: Mask | None, case_id: str) -> Mask:
    if mask is None:
        raise DataError(f"case '{case_id}' has no mask; segmentation needs one for every image, empty or not.")
    return mask


def _mean(values: pd.Series[float]) -> float | None:
    defined = values.dropna()
    return float(defined.mean()) if len(defined) else None


def _pack(masks: Sequence[Mask]) -> NDArray[np.uint8]:
    return np.packbits(np.concatenate([mask.ravel() for mask in masks]))


def _unpack(bits: NDArray[np.uint8], shapes: list[tuple[int, int]]) -> tuple[Mask, ...]:
    sizes = [h * w for h, w in shapes]
    flat = np.unpackbits(bits, count=sum(sizes)).astype(bool)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
