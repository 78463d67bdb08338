"""What lies beside a weight file that `pretrain` wrote: how it was made and which images it saw. Without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SerializeAsAny, ValidationError, field_validator

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import file_sha256
from usfm_bench.core.settings import Settings, content_hash
from usfm_bench.core.validation import in_words
from usfm_bench.data.dataset import Dataset
from usfm_bench.specs.model import ModelEntry
from usfm_bench.specs.pretraining import Pretrained, PretrainSpec, settings_of
from usfm_bench.specs.seen import seen_by


class Card(Settings):
    """Content of `<weights>.json`."""

    recipe: SerializeAsAny[PretrainSpec]
    """Of the class of its method; `ForeignSpec` where that is not installed here."""
    recipe_hash: str
    weight_hash: str
    """sha256 of the weight file."""
    sources: dict[str, dict[str, Any]]
    """Data set -> content hash, number of images seen, and which side they are of."""
    seen: tuple[str, ...]
    """Pixel hashes of the images seen, sorted."""
    final: dict[str, float | None]
    """Last row of the history: the learning rate, the method's losses, images a second. Empty after no step."""
    wall_s: float
    """Seconds in all parts."""
    flops_per_image: float | None = None
    """Operations of a training step for one image, forward and backward, a multiply-add as two; of matrix products,
    convolutions and attention. None: compiled, or written by an earlier version."""
    environment: dict[str, Any]

    @property
    def images_seen(self) -> int:
        """An image counts as often as it was seen."""
        return self.recipe.steps * self.recipe.batch_size

    @property
    def pretrained(self) -> Pretrained:
        """What records of trials keep of it."""
        recipe = self.recipe
        flops = 0.0 if recipe.steps == 0 else None
        if self.flops_per_image is not None:
            flops = self.flops_per_image * self.images_seen
        terms = content_hash(recipe.model_dump(mode="json", exclude={"seed"}))
        return Pretrained(
            method=recipe.method,
            model=recipe.model,
            seed=recipe.seed,
            terms=terms,
            images_seen=self.images_seen,
            flops=flops,
        )

    @field_validator("recipe", mode="wrap")
    @classmethod
    def _of_its_method(cls, recipe: Any, _: Any) -> PretrainSpec:
        return recipe if isinstance(recipe, PretrainSpec) else settings_of(recipe).model_validate(recipe)


def card_path(weights: Path) -> Path:
    """Where the card of a weight file lies."""
    return weights.with_name(f"{weights.name}.json")


def read_card(weights: Path) -> Card | None:
    """The card of a weight file; None where there is none, or where it is of other weights than those that lie there.

    Raises:
        BenchError: damaged.
    """
    path = card_path(weights)
    if not path.is_file() or not weights.is_file():
        return None
    try:
        card = Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BenchError("\n".join(in_words(error, Card, {}, f"{path}: no card of a pre-training"))) from None
    return card if card.weight_hash == file_sha256(weights) else None


def seen_in_pretraining(entry: ModelEntry, card: Card | None, dataset: Dataset, test: Dataset) -> bool | None:
    """Whether a test image, or a near-duplicate of one or another image of its patient, was seen in pre-training.

    Found out from the images where a card says which were seen: equal pixels, and the groups of the tested data set.
    Else what the registry says; None: unknown, as for a file of the user's own where a recipe would have made another.
    """
    if card is None:
        return seen_by(entry, dataset.spec).verdict if entry.recipe is None else None
    return bool(seen_cases(card, dataset, test).any())


def seen_cases(card: Card, dataset: Dataset, test: Dataset) -> NDArray[np.bool_]:
    """(N,) whether each test image, a near-duplicate or another image of its patient was seen."""
    seen = set(card.seen)
    groups = {sample.group_id for sample in dataset.samples if sample.pixel_hash in seen}
    return np.array([sample.group_id in groups for sample in test.samples], dtype=bool)
