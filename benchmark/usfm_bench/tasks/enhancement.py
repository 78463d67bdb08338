"""Enhancement: what an image of low quality would look like in high quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.data.packed import FlatImages, PackedMasks
from usfm_bench.data.resize import resample, resize_image
from usfm_bench.data.sample import Image, Mask, Sample
from usfm_bench.metrics.definitions import Definition
from usfm_bench.metrics.enhancement import OF, ORDER, image_definitions, score_enhancement
from usfm_bench.metrics.operating import Tuned
from usfm_bench.specs.task import TASKS, Predictions, Task

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from usfm_bench.data.dataset import Dataset
    from usfm_bench.models.build import ModelBody
    from usfm_bench.models.networks import Network
    from usfm_bench.specs.training import TrainingSpec

_SMOKE: dict[str, Any] = {
    "image_size": 96,
    "epochs": 8,
    "warmup_epochs": 1,
    "batch_size": 8,
    "lr": 1e-3,
    "weight_decay": 0.01,
    "augment": ["hflip"],
    "decoder": "upernet",
    "validate_every": 2,
    "threads": 2,
}
_QUICK = {**_SMOKE, "image_size": 128, "epochs": 30}
_PAPER: dict[str, Any] = {
    "image_size": 256,
    "epochs": 100,
    "warmup_epochs": 5,
    "batch_size": 16,
    "lr": 3e-4,
    "weight_decay": 0.05,
    "layer_decay": 0.8,
    "augment": ["hflip"],
    "decoder": "upernet",
}


@dataclass(frozen=True)
class EnhancementPredictions:
    """Enhanced images of the test cases, with what they were made of and what they should be."""

    case_ids: tuple[str, ...]
    inputs: Sequence[Image]
    """(H, W) each, of low quality, at native size."""
    outputs: Sequence[Image]
    """The same, enhanced."""
    targets: Sequence[Image]
    """The same in high quality."""
    lesions: Sequence[Mask | None]
    """(H, W) each; None where the data set has no masks."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Images of all cases stand one behind the other; `pair_shape` says where each ends."""
        masks = PackedMasks([image.shape for image in self.targets])
        masked = np.zeros(len(self.lesions), bool)
        for i, lesion in enumerate(self.lesions):
            if lesion is not None:
                masks.put(i, lesion)
                masked[i] = True
        return {
            "case_id": np.array(self.case_ids),
            "pair_shape": np.array([image.shape for image in self.targets], dtype=np.int32).reshape(-1, 2),
            "input": _flat(self.inputs),
            "output": _flat(self.outputs),
            "target": _flat(self.targets),
            "masked": masked,
            "lesion": masks.bits,
        }


def with_images(predictions: Predictions) -> EnhancementPredictions | None:
    """The same where they are images; None where they are another task's."""
    return predictions if isinstance(predictions, EnhancementPredictions) else None


class Enhancement(Task):
    """An image of the same view in higher quality."""

    name = "enhancement"
    short = "enh"
    title = "Comparison results on enhancement tasks"
    of = OF
    needs = "pair"
    wants = "maps"
    takes_images = True
    per_case = True
    own_suite = "enhance"
    order = ORDER
    columns = order
    headline_ids = ("psnr.native@1", "ssim.native@1")
    shared = ("lesion_px",)
    summary = ("PSNR", "SSIM")
    panels = ("PSNR", "SSIM")
    by_case = "SSIM"
    browsed = order
    figures = ("forest", "paired", "training", "enhanced")
    validation = "1 - mean absolute error (%)"
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"smoke": _SMOKE, "quick": _QUICK, "paper": _PAPER}
    only_here = frozenset({"frequency_loss"})
    first = ("identity",)
    augmented = "mask"

    def targets(self, dataset: Dataset, size: int) -> NDArray[np.uint8]:
        """(N, 1, S, S) grey levels of the good images."""
        return np.stack([resize_image(_good(sample), size) for sample in dataset.samples])[:, None]

    def network(self, body: ModelBody, train: Dataset, recipe: TrainingSpec) -> Network:
        """A filter as it is; or a pixel head on what the recipe's decoder makes of feature maps."""
        from usfm_bench.models.enhancer import CHANNELS, Enhancer

        network = body.family.image_filter(body.entry)
        return network or Enhancer(body.segmenter(CHANNELS), recipe.frequency_loss)

    def validate(self, outputs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """1 - mean absolute error on the network's grid, over images."""
        import torch

        errors = [(said.float().clamp(0, 1) - good / 255).abs().mean((1, 2, 3)) for said, good in outputs]
        return 1 - float(torch.cat(errors).mean())

    def predict(
        self, logits: Tensor, dataset: Dataset, val: tuple[Tensor, Tensor] | None = None
    ) -> EnhancementPredictions:
        """(N, 1, S, S) levels -> images at native size: what the network changed on its grid is added to the image."""
        return self.predict_batches([logits], dataset, lambda: val)

    def predict_batches(
        self, batches: Iterable[Tensor], dataset: Dataset, val: Callable[[], tuple[Tensor, Tensor] | None]
    ) -> EnhancementPredictions:
        """(B, 1, S, S) levels of each batch -> images at native size; nothing is asked of validation cases."""
        samples = dataset.samples
        shapes = [sample.shape for sample in samples]
        inputs, outputs, targets = FlatImages(shapes), FlatImages(shapes), FlatImages(shapes)
        case = 0
        for batch in batches:
            for levels in batch.numpy():
                image = samples[case].image
                inputs.put(case, image)
                outputs.put(case, to_native(levels[0], image, levels.shape[-1]))
                targets.put(case, _good(samples[case]))
                case += 1
        return EnhancementPredictions(
            case_ids=tuple(sample.case.case_id for sample in samples),
            inputs=inputs,
            outputs=outputs,
            targets=targets,
            lesions=_Lesions(samples),
        )

    def answers(self, predictions: Predictions) -> list[NDArray[Any]]:
        """The enhanced images."""
        return list(_images(predictions).outputs)

    def read_predictions(self, arrays: Mapping[str, NDArray[Any]]) -> EnhancementPredictions | None:
        """Arrays with pairs of images."""
        if "pair_shape" not in arrays:
            return None
        shapes = [(int(h), int(w)) for h, w in arrays["pair_shape"]]
        inputs, outputs, targets = (FlatImages(shapes, arrays[name]) for name in ("input", "output", "target"))
        masks = PackedMasks(shapes, arrays["lesion"])
        lesions = (mask if there else None for mask, there in zip(masks, arrays["masked"].tolist(), strict=True))
        return EnhancementPredictions(tuple(arrays["case_id"].tolist()), inputs, outputs, targets, tuple(lesions))

    def definitions(self, predictions: Predictions) -> dict[str, str]:
        """The primary ones."""
        return {d.column: d.id for d in image_definitions()}

    def score(
        self,
        predictions: Predictions,
        who: pd.DataFrame,
        definitions: Sequence[Definition] | None = None,
        tuned: Tuned | None = None,
    ) -> pd.DataFrame:
        """Every metric of every case, and the size of its lesion in pixels: NaN where nothing is known of one."""
        import pandas as pd

        kept = _images(predictions)
        scores = score_enhancement(
            kept.outputs, kept.targets, kept.lesions, case_ids=kept.case_ids, definitions=definitions
        )
        sizes = [np.nan if lesion is None else float(lesion.sum()) for lesion in kept.lesions]
        return pd.concat([who.assign(lesion_px=sizes), scores.drop(columns="case_id")], axis=1)

    def summarise(
        self, cases: pd.DataFrame, definitions: Mapping[str, str], classes: tuple[str, ...]
    ) -> dict[str, Any]:
        """Means over the cases that a metric is defined for; `n_undefined` says how many it is not defined for."""
        undefined = {name: int(cases[name].isna().sum()) for name in definitions}
        means = {name: None if n == len(cases) else float(cases[name].dropna().mean()) for name, n in undefined.items()}
        return means | {"n_undefined": {name: n for name, n in undefined.items() if n}}


TASKS.register("enhancement")(Enhancement())


def to_native(levels: NDArray[np.float32], image: Image, size: int) -> Image:
    """(S, S) enhanced levels in [0, 1] of an image -> (H, W) grey levels.

    The difference to the image on the network's grid is brought to the image's own size by straight lines and added to
    it. Where both have one size this is what the network said; where the image is larger, detail that the network did
    not see stays.
    """
    change = levels * np.float32(255) - resize_image(image, size).astype(np.float32)
    native = image + resample(change, image.shape, cv2.INTER_LINEAR)
    return np.asarray(native.round().clip(0, 255), dtype=np.uint8)


def _images(predictions: Predictions) -> EnhancementPredictions:
    assert isinstance(predictions, EnhancementPredictions)
    return predictions


def _good(sample: Sample) -> Image:
    if sample.good is None:
        case = sample.case.case_id
        raise DataError(
            f"case '{case}' has no good image; enhancement needs one for every image. The layout `pairs` reads them "
            "(docs/layouts.md)."
        )
    return sample.good


class _Lesions(Sequence[Mask | None]):
    """The mask of each case, read when it is asked for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    @overload
    def __getitem__(self, index: int) -> Mask | None: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Mask | None, ...]: ...
    def __getitem__(self, index: int | slice) -> Mask | tuple[Mask | None, ...] | None:
        if isinstance(index, slice):
            return tuple(sample.mask for sample in self._samples[index])
        return self._samples[index].mask

    def __len__(self) -> int:
        return len(self._samples)


def _flat(images: Sequence[Image]) -> NDArray[np.uint8]:
    if isinstance(images, FlatImages):
        return images.flat
    return np.concatenate([image.ravel() for image in images])
