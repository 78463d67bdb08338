"""What a pre-training is: frozen, complete, hashable settings. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator

from usfm_bench.core.errors import BenchError, unknown
from usfm_bench.core.settings import Settings, content_hash
from usfm_bench.core.validation import in_words
from usfm_bench.specs.method import METHODS

FORMATS = (".pth", ".safetensors")


class WhichImages(Settings):
    """What decides which images a pre-training sees, and on which grid."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    datasets: tuple[str, ...] = Field(min_length=1)
    """Data sets whose images are seen; their labels are not."""
    all_images: bool = False
    """See test images too. Else only the training side of the holdout of `split_seed` is seen."""
    split_seed: int = Field(default=0, ge=0)
    """The split seed of the suites that the weights are meant for."""
    image_size: int = Field(default=224, ge=16)
    """Side of the square input, in pixels."""


class PretrainSpec(WhichImages):
    """What decides the weights that come out, for every method; a method's own settings extend it.

    Two equal specs on one CPU give the same bits.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: Literal[2] = 2
    """Raised when equal settings give other weights. 2: the last norm is `norm`, as in the published file; 1, which did
    not say so, wrote `fc_norm`."""
    method: str = "usfm"
    """Name of what is learnt; the other settings of a recipe depend on it."""
    model: str = "usfm_tiny_patch16_224"
    """timm's name of the encoder."""
    steps: int = Field(ge=0)
    """Optimiser steps; 0: the file holds the weights that training would start from, for reference."""
    batch_size: int = Field(default=64, ge=1)
    """Images a step, over all devices and accumulated micro-batches."""
    accumulate: int = Field(default=1, ge=1)
    """Micro-batches a step."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up from 0; the rest is a cosine to 0."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's weight decay; biases, norms and position tables have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates."""
    clip_norm: float | None = Field(default=5.0, gt=0)
    """Largest gradient norm; None: no clipping."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device has it in hardware, else fp32."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth of the encoder; processes and micro-batches draw their own."""
    seed: int = Field(default=0, ge=0)
    """Governs initialisation, sampling and views."""
    threads: int | None = Field(default=None, ge=1)
    """torch threads on a CPU; part of the recipe, since other counts give other bits. None on a GPU."""

    @property
    def hash(self) -> str:
        """Content hash, as 64 hex digits."""
        return content_hash(self.model_dump(mode="json"))


class ForeignSpec(PretrainSpec):
    """A recipe of a method that is not installed here, kept as it was written."""

    model_config = ConfigDict(extra="allow")


class Pretrained(Settings):
    """How weights were pre-trained, by the card beside them."""

    method: str
    """A name of `METHODS`."""
    model: str
    """timm's name of the encoder."""
    seed: int
    """Of the pre-training."""
    terms: str
    """Hash of the recipe without its seed: weights of equal terms are repeats of one pre-training."""
    images_seen: int
    """An image counts as often as it was seen; 0: the weights that training starts from."""
    flops: float | None
    """Operations of the whole pre-training, a multiply-add as two; None: not counted."""


class Options(Settings):
    """How a pre-training is run: what does not decide the weights that come out."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    out: Path
    """Weight file to write, .pth or .safetensors; history, card and sheet lie beside it."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """`auto` takes a GPU where there is one."""
    devices: int = Field(default=1, ge=1)
    """Processes, each with a device of its own."""
    resume: bool = False
    """Go on from the checkpoint, where there is one."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints."""
    checkpoint_minutes: float = Field(default=10, gt=0)
    """A checkpoint is also written when the last one is as old as this, at the next row of the history."""
    log_every: int = Field(default=10, ge=1)
    """Steps between rows of the history, and checks that the loss is finite."""
    sheet_every: int = Field(default=2000, ge=0)
    """Steps between sheets, which show some of the images; 0: none."""
    compile: bool = False
    """Compile the network with torch.compile."""
    tensorboard: Path | None = None
    """Folder of TensorBoard's files; None: none are written."""

    @field_validator("out")
    @classmethod
    def _named_by_format(cls, out: Path) -> Path:
        if out.suffix not in FORMATS:
            raise ValueError(f"'{out}': expected a name that ends in {' or '.join(FORMATS)}")
        return out

    @property
    def state(self) -> Path:
        """The checkpoint, while training."""
        return self.out.with_name(f"{self.out.name}.state")


def settings_of(values: Any) -> type[PretrainSpec]:
    """The settings of the method that a recipe names; `ForeignSpec` where no such method is installed."""
    default = PretrainSpec.model_fields["method"].default
    method = values.get("method", default) if isinstance(values, dict) else default
    return METHODS[method].settings if isinstance(method, str) and method in METHODS else ForeignSpec


def unknown_method(name: object) -> str:
    """What is wrong with a method that is not installed."""
    return str(unknown("pre-training method", str(name), METHODS))


def build_spec(values: dict[str, Any], where: str) -> PretrainSpec:
    """A validated spec, of the class of its method.

    Raises:
        BenchError: every fault of the values, with `where` in front.
    """
    if faults := recipe_faults(values, where):
        raise BenchError("\n".join(faults))
    return settings_of(values).model_validate(values)


def recipe_faults(values: dict[str, Any], where: str, joint: str = ": ") -> list[str]:
    """Every fault of a recipe, each with `where` and `joint` in front of its key."""
    kind = settings_of(values)
    found = [f"{where}{joint}method: {unknown_method(values.get('method'))}"] if kind is ForeignSpec else []
    try:
        kind.model_validate(values)
    except ValidationError as error:
        found += in_words(error, kind, values, where, joint)
    return found
