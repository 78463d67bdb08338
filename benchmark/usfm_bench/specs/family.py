"""What a family of models is. Its entries lie in `models/zoo/`, one file each; nothing outside them compares a name."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from usfm_bench.core.errors import unknown
from usfm_bench.core.registry import Registry
from usfm_bench.specs.training import Reading

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.models.networks import Network
    from usfm_bench.specs.model import ModelEntry

Gives = Literal["maps", "vector", "image"]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the three channels of an image in [0, 1]."""


@dataclass(frozen=True)
class Asked:
    """What a trial or a probe asks of a backbone."""

    image_size: int | None = None
    """Side of the square input in pixels; None: that of the weight file, or of the architecture."""
    drop_path: float = 0.0
    """Stochastic depth of the last block."""
    reading: Reading | None = None
    """How the last norm of a weight file is used, of families where that is a choice."""
    otherwise: Reading = "published"
    """The same where `reading` is None and the file leaves the choice."""
    legacy_transpose: bool = False
    """Resize position tables as the published code does."""
    shape: dict[str, Any] | None = None
    """Build what another's `Backbone.shape` says, with random weights; no weight file is read."""


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds, in timm's terms."""

    architecture: str
    """timm's name; empty where the settings say it all."""
    state: dict[str, Tensor]
    """Tensors of the encoder, all of them, under timm's names."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of timm's constructor, such as `num_heads`, which shapes do not tell."""
    ignored: Sequence[str] = ()
    """Tensors of the file that are no part of the encoder."""
    mean: Sequence[float] | None = None
    """That the file's form wants images in [0, 1] normalised with; None: the family's."""
    std: Sequence[float] | None = None
    """The same."""


@dataclass(frozen=True)
class Backbone:
    """A model without a classifier, and what was decided in building it."""

    model: Any
    """With timm's methods: `forward_features`, `forward_head`, `reset_classifier` and `get_classifier`; where it is
    plain also `blocks` and `forward_intermediates`."""
    mean: Sequence[float] = field(default=IMAGENET[0])
    std: Sequence[float] = field(default=IMAGENET[1])
    reading: Reading | None = None
    """How the weight file's last norm is used; None: the file leaves no choice, or there is no file."""
    shape: dict[str, Any] | None = None
    """What an encoder from a weight file is built with, as JSON; None: the model's name says it."""


class Family(ABC):
    """Models of one origin: how they are named, how their files look, and how they are built."""

    name: ClassVar[str]
    """As names (`NAME:...`) and the registry of models write it."""
    title: ClassVar[str]
    """Of its encoder, in messages and lists."""
    usage: ClassVar[str] = ""
    """What names beside those of the registry it answers to, in words; empty: none."""
    gives: ClassVar[tuple[Gives, ...]] = ("maps", "vector")
    """What a task can build on: feature maps, one vector an image, and of filters an image."""
    reads_files: ClassVar[bool] = True
    """It has weight files, and so `read`."""
    needs_architecture: ClassVar[bool] = True
    """The file alone does not tell the architecture, so that an entry has to state it."""
    patch: ClassVar[int | None] = None
    """Side of a patch in pixels, which the input's side is a multiple of; None: any input."""
    image_size: ClassVar[int | None] = None
    """Side of the input in pixels that the weights were trained with; None: it differs."""
    mean: ClassVar[Sequence[float]] = IMAGENET[0]
    std: ClassVar[Sequence[float]] = IMAGENET[1]
    licence: ClassVar[str] = ""
    """Of its weights, where an entry states no other."""
    trained_on: ClassVar[str] = ""
    """Images that its weights were trained on, where an entry states no others."""
    undecayed: ClassVar[tuple[str, ...]] = ("relative_position_bias_table", "cls_token", "pos_embed")
    """Ends of the names of parameters without weight decay; vectors have none either."""
    varied: ClassVar[bool] = False
    """Its architectures differ in what they take, so that one that does not fit is the user's choice, not a bug."""
    pretrainable: ClassVar[tuple[str, ...]] = ()
    """Architectures that a pre-training can start from."""

    # ---- names; without torch ----

    def entry(self, name: str, rest: str) -> ModelEntry:
        """What `name`, which is this family's name, a colon and `rest`, stands for: a weight file by its path.

        Raises:
            BenchError: no such model; the nearest is suggested.
        """
        from usfm_bench.specs.model import MODELS, file_entry

        if not self.reads_files or self.needs_architecture:
            raise unknown("model", name, MODELS, hint="`usfm-bench models list` shows all.")
        return file_entry(self, name, Path(rest))

    def check_architecture(self, architecture: str) -> None:  # noqa: B027 - not every family has a list
        """Raise a BenchError where the family has no such architecture; the nearest is suggested."""

    def patch_of(self, architecture: str) -> int | None:
        """Side of a patch of an architecture in pixels; None: any input, or told by the file alone."""
        return self.patch

    # ---- files ----

    def recognises(self, names: Iterable[str]) -> bool:
        """Whether a file with tensors of these names may be of this family."""
        return False

    def read(self, path: Path, architecture: str = "") -> Checkpoint:
        """All tensors of the encoder in a weight file.

        Args:
            path: of the file.
            architecture: what it is known to be; empty: not known.

        Raises:
            WeightsError: no file of this family, or not all of one; names the keys.
        """
        raise AssertionError(f"family '{self.name}' reads no files")

    def shape(self, path: Path) -> dict[str, Any]:
        """The `Backbone.shape` of a weight file."""
        checkpoint = self.read(path)
        return {"architecture": checkpoint.architecture, **checkpoint.settings}

    def inspect(self, path: Path) -> dict[str, Any]:
        """What a file holds, in words, after a check that it covers the encoder."""
        from usfm_bench.models.loading import inspect_file

        return inspect_file(self, path)

    # ---- networks ----

    def build(self, architecture: str, settings: dict[str, Any]) -> Any:
        """The model with random weights and without a classifier; timm's of that name."""
        import timm

        return timm.create_model(architecture, **settings)

    def fitted(self, state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
        """A file's tensors with position tables resized to the model's grid; timm's way for absolute positions."""
        from usfm_bench.models.loading import with_resized_positions

        return with_resized_positions(state, model)

    def is_plain(self, architecture: str) -> bool:
        """Whether it is a transformer without stages: it has `blocks` of one stride and takes `img_size`."""
        return True

    def is_sized(self, architecture: str, size: int) -> bool:
        """Whether it must be built with `img_size` to take images of (size, size)."""
        return self.is_plain(architecture)

    def backbone(self, entry: ModelEntry, asked: Asked) -> Backbone:
        """The model, with the weights that the entry names, or random ones.

        Weight files have passed the check of their hash.

        Raises:
            WeightsError: the file does not cover the encoder; names the keys.
            WeightsMissingError: a hub has not given the weights.
        """
        from usfm_bench.models.loading import timm_backbone

        return timm_backbone(self, entry, asked)

    def stages(self, entry: ModelEntry, shape: dict[str, Any] | None = None, **sizes: int) -> Backbone:
        """A model that is not plain as (B, 3, S, S) -> maps from shallow to deep, the last four at strides 4 to 32.

        Args:
            entry: of the model.
            shape: as `Asked.shape`.
            sizes: `img_size` S, of models that are sized.
        """
        from usfm_bench.models.loading import timm_stages

        return timm_stages(self, entry, shape, **sizes)

    def segmenter(self, entry: ModelEntry, n_outputs: int) -> Network | None:
        """The whole network of a family with a decoder of its own, with `n_outputs` logits a pixel.

        None: the recipe's decoder stands on the maps.
        """
        return None

    def image_filter(self, entry: ModelEntry) -> Network | None:
        """The whole network of a family that makes images of images; None: a task builds on what it gives."""
        return None


FAMILIES: Registry[Family] = Registry("model family", home="usfm_bench.models.zoo")
"""Family name -> family."""
