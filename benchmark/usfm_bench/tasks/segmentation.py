"""Segmentation: which pixels are the lesion, or each of several structures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.data.packed import PackedMasks, pack
from usfm_bench.data.resize import resample, resize_mask
from usfm_bench.data.sample import Mask, Masks, Sample, Spacing, binary_digits
from usfm_bench.metrics.definitions import Definition, known_definitions, of_one_mask
from usfm_bench.metrics.operating import Tuned
from usfm_bench.metrics.segmentation import ORDER, primary_definitions, score_segmentation
from usfm_bench.metrics.structures import score_structures, structure_definitions
from usfm_bench.specs.task import TASKS, Columns, Predictions, Task

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from usfm_bench.data.dataset import Dataset
    from usfm_bench.models.build import ModelBody
    from usfm_bench.models.networks import Network
    from usfm_bench.specs.dataset import DatasetSpec
    from usfm_bench.specs.training import TrainingSpec


@dataclass(frozen=True)
class SegmentationPredictions:
    """Predicted and reference masks of the test cases."""

    case_ids: tuple[str, ...]
    predictions: Sequence[Mask]
    """(H, W) each, at native size; (K, H, W) of several structures."""
    references: Sequence[Mask]
    """The same of the reference."""
    grid_predictions: Sequence[Mask]
    """(S, S) each, on the network's grid; (K, S, S) of several structures."""
    spacings: tuple[Spacing | None, ...]
    """In millimetres."""
    structures: tuple[str, ...] = ()
    """(K,) names; empty where masks show one structure."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Masks of all cases stand one behind the other as packed bits; `shape` says where each ends."""
        unknown = (float("nan"), float("nan"))
        references, grids = pack(self.references), pack(self.grid_predictions)
        return {
            "case_id": np.array(self.case_ids),
            "shape": np.array([shape[-2:] for shape in references.shapes], dtype=np.int32).reshape(-1, 2),
            "prediction": pack(self.predictions).bits,
            "reference": references.bits,
            "grid_shape": np.array([len(grids), *grids.shapes[0]], dtype=np.int32),
            "grid_prediction": grids.bits,
            "spacing": np.array([spacing or unknown for spacing in self.spacings], dtype=np.float64),
            **({"structures": np.array(self.structures)} if self.structures else {}),
        }


def with_masks(predictions: Predictions) -> SegmentationPredictions | None:
    """The same where they are masks; None where they are another task's."""
    return predictions if isinstance(predictions, SegmentationPredictions) else None


class Segmentation(Task):
    """One structure, the lesion, against everything else (Table 1 of the paper); or each of several structures."""

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
        """(N, K, S, S) masks in {0, 1}, one of each structure."""
        masks = [[resize_mask(each, size) for each in _masks_of(sample)] for sample in dataset.samples]
        return np.array(masks).astype(np.uint8)

    def network(self, body: ModelBody, train: Dataset, recipe: TrainingSpec) -> Network:
        """One logit a pixel and structure."""
        return body.segmenter(len(train.structures) or 1)

    def after_augmentation(self, targets: Tensor) -> Tensor:
        """A rotated mask has soft borders."""
        return (targets > 0.5).float()

    def validate(self, outputs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Mean Dice on the network's grid. Pixels are counted on the device; three numbers a structure leave it."""
        import torch

        return mean_dice(torch.cat([overlap_counts(logits, masks) for logits, masks in outputs]))

    def predict(
        self, logits: Tensor, dataset: Dataset, val: tuple[Tensor, Tensor] | None = None
    ) -> SegmentationPredictions:
        """(N, K, S, S) logits -> masks at native size."""
        return self.predict_batches([logits], dataset, lambda: val)

    def predict_batches(
        self, batches: Iterable[Tensor], dataset: Dataset, val: Callable[[], tuple[Tensor, Tensor] | None]
    ) -> SegmentationPredictions:
        """(B, K, S, S) logits of each batch -> masks at native size; nothing is asked of validation cases."""
        samples, k = dataset.samples, dataset.structures
        shapes = [(*([len(k)] if k else []), *sample.shape) for sample in samples]
        predictions, references, grids = PackedMasks(shapes), PackedMasks(shapes), PackedMasks([])
        case = 0
        for logits in batches:
            if case == 0:
                grids = PackedMasks([(*([len(k)] if k else []), *logits.shape[2:])] * len(samples))
            for probabilities in logits.sigmoid().numpy():
                reference = _masks_of(samples[case])
                native = np.stack([to_native(each, samples[case].shape) for each in probabilities])
                for masks, filled in ((native, predictions), (reference, references), (probabilities > 0.5, grids)):
                    filled.put(case, masks if k else masks[0])
                case += 1
        return SegmentationPredictions(
            case_ids=tuple(sample.case.case_id for sample in samples),
            predictions=predictions,
            references=references,
            grid_predictions=grids,
            spacings=tuple(sample.spacing for sample in samples),
            structures=k,
        )

    def answers(self, predictions: Predictions) -> list[NDArray[Any]]:
        """Masks, 255 on the lesion and 0 elsewhere; of several structures as `binary_digits`."""
        kept = _masks(predictions)
        if kept.structures:
            return [binary_digits(masks) for masks in kept.predictions]
        return [mask.astype(np.uint8) * 255 for mask in kept.predictions]

    def read_predictions(self, arrays: Mapping[str, NDArray[Any]]) -> SegmentationPredictions | None:
        """Arrays with packed masks."""
        if "shape" not in arrays:
            return None
        structures = tuple(arrays["structures"].tolist()) if "structures" in arrays else ()
        channels = (len(structures),) if structures else ()
        shapes = [(*channels, int(h), int(w)) for h, w in arrays["shape"]]
        grid_shape = tuple(arrays["grid_shape"].tolist())
        return SegmentationPredictions(
            case_ids=tuple(arrays["case_id"].tolist()),
            predictions=PackedMasks(shapes, arrays["prediction"]),
            references=PackedMasks(shapes, arrays["reference"]),
            grid_predictions=PackedMasks([grid_shape[1:]] * grid_shape[0], arrays["grid_prediction"]),
            spacings=tuple(None if np.isnan(s).any() else Spacing(*map(float, s)) for s in arrays["spacing"]),
            structures=structures,
        )

    def definitions(self, predictions: Predictions) -> dict[str, str]:
        """The primary ones; millimetres only where a spacing is known. Of several structures: means, then of each."""
        kept = _masks(predictions)
        primary = primary_definitions(kept.spacings)
        return {
            d.column: d.id for d in (structure_definitions(primary, kept.structures) if kept.structures else primary)
        }

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
        more: dict[str, Any] = {
            "definitions": None if definitions is None else _of_one_mask(definitions, several=bool(kept.structures)),
            "spacings": kept.spacings,
            "grid_preds": kept.grid_predictions,
            "case_ids": list(kept.case_ids),
        }
        if kept.structures:
            scores = score_structures(kept.predictions, kept.references, kept.structures, **more)
        else:
            scores = score_segmentation(kept.predictions, kept.references, **more)
        return pd.concat([who, scores.drop(columns="case_id")], axis=1)

    def summarise(
        self, cases: pd.DataFrame, definitions: Mapping[str, str], classes: tuple[str, ...]
    ) -> dict[str, Any]:
        """Means over lesion cases; what is undefined is in no mean, and `n_undefined` says of how many cases."""
        values = {name: cases.loc[cases["lesion" + "".join(name.partition("[")[1:])], name] for name in definitions}
        undefined = {name: int(of_lesions.isna().sum()) for name, of_lesions in values.items()}
        return {name: _mean(of_lesions) for name, of_lesions in values.items()} | {
            "n_lesion_cases": int(cases["lesion"].sum()),
            "n_missed": int(cases["missed"].sum()),
            "n_false_alarms": int(cases["false_alarm"].sum()),
            "n_undefined": {name: n for name, n in undefined.items() if n},
        }

    def counted(self, cases: Columns | pd.DataFrame, definition: Definition) -> NDArray[np.bool_]:
        """Images with a lesion (the structure, or any of several), or all where the definition says so."""
        return np.asarray(cases[definition.about("lesion")], bool) | (definition.over == "all")

    def notes(self, dataset: DatasetSpec) -> list[str]:
        """Of several structures: what the value of a case is."""
        if not dataset.structures:
            return []
        return [
            f"{dataset.name}: a case's value is the mean over the structures that its reference has "
            f"({', '.join(dataset.structures)}); missed and false alarms are counted by structure"
        ]

    def parts(self, definition: Definition, dataset: DatasetSpec) -> list[Definition]:
        """Of several structures: the mean over them, then each; a metric of one of them is itself where it is there."""
        names = dataset.structures
        if not definition.base:
            return structure_definitions([definition], names) if names else [definition]
        return [definition] if names and definition.structure in (None, *names) else []


TASKS.register("segmentation")(Segmentation())


def overlap_counts(logits: Tensor, masks: Tensor) -> Tensor:
    """(B, K, S, S) logits and masks -> pixels in both, in the prediction, in the mask; on their device.

    (B, 3) of one structure, (B, K, 3) of several.
    """
    import torch

    said, true = logits.flatten(2) > 0, masks.flatten(2) > 0  # (B, K, S*S)
    return torch.stack([(said & true).sum(2), said.sum(2), true.sum(2)], dim=2).squeeze(1)


def mean_dice(counts: Tensor) -> float:
    """(N, 3) or (N, K, 3) counts -> mean Dice over the images with a lesion where there are any.

    An empty prediction on a normal image would outweigh every lesion. Of several structures: over the images with any,
    each the mean over the structures that it has.
    """
    import torch

    both, said, true = counts.cpu().reshape(len(counts), -1, 3).unbind(2)  # (N, K)
    dice = torch.where(said + true > 0, 2 * both / (said + true).clamp(min=1), 1.0)
    lesions = true > 0
    if not lesions.any():
        return float(dice.mean())
    shown = lesions.any(1)
    of_images = torch.where(lesions, dice, 0.0).sum(1)[shown] / lesions.sum(1)[shown]
    return float(of_images.mean())


def to_native(probability: NDArray[np.float32], shape: tuple[int, ...]) -> Mask:
    """(S, S) probabilities of lesion -> (H, W) bool: bilinear, by area along a side that shrinks; above 0.5."""
    return np.asarray(resample(probability, shape, cv2.INTER_LINEAR) > 0.5)


def _masks(predictions: Predictions) -> SegmentationPredictions:
    assert isinstance(predictions, SegmentationPredictions)
    return predictions


def _masks_of(sample: Sample) -> Masks:
    if sample.each is None:
        case = sample.case.case_id
        raise DataError(f"case '{case}' has no mask; segmentation needs one for every image, empty or not.")
    return sample.each


def _of_one_mask(definitions: Sequence[Definition], *, several: bool) -> list[Definition]:
    """What is to be computed of each mask, so that all these definitions have columns."""
    if not several:
        return [definition for definition in definitions if not definition.base]
    found = (known_definitions([of_one_mask(definition.id)])[0] for definition in definitions)
    return list({definition.id: definition for definition in found}.values())


def _mean(values: pd.Series[float]) -> float | None:
    defined = values.dropna()
    return float(defined.mean()) if len(defined) else None
