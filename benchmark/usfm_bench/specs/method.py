"""What a pre-training method is. Its entries lie in `pretraining/methods/`, one file each; nothing imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from usfm_bench.core.errors import BenchError
from usfm_bench.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from usfm_bench.pretraining.sampling import Step
    from usfm_bench.specs.pretraining import PretrainSpec

S = TypeVar("S", bound="PretrainSpec")


class Sheet(NamedTuple):
    """Pictures of some images, in columns with a title each."""

    pictures: Mapping[str, Tensor]
    """Title -> (N, 1, S, S) grey levels in [0, 1]."""
    spectra: Mapping[str, Tensor] = {}
    """Title -> (N, 1, S, S) grey levels whose spectra are drawn."""


class Method(ABC, Generic[S]):
    """What an encoder learns from images without labels: an object is one pre-training, in one process.

    A new method is one class and its settings. The loop knows neither masks nor momentum encoders nor queues: it
    makes `views` of a batch, takes `step`, moves the parameters of `network` along the gradient of `loss`, and then
    calls `after_step`. A file of the package imports torch within functions, so that settings are checked without it.
    """

    settings: ClassVar[type[PretrainSpec]]
    """What a recipe of the method may say; its own keys stand beside those of `PretrainSpec`."""
    distinct: ClassVar[bool] = False
    """It tells the images of a batch apart, so that none may be there twice."""
    network: nn.Module
    """All that the method trains and keeps: parameters with a gradient are trained, the others and buffers (a momentum
    encoder, a queue) are the method's own to change. All of it is in the checkpoint. `compile` compiles its forward."""

    @abstractmethod
    def __init__(self, spec: S) -> None:
        """Set `network` up, on the CPU; torch's generators are seeded.

        Raises:
            BenchError: an encoder that the method cannot train.
        """

    @abstractmethod
    def views(self, images: Tensor, step: Step) -> Any:
        """What `step` is to see of a batch, or of a share of one; without gradients.

        Args:
            images: (B, 1, S, S) grey levels in [0, 1], on the device.
            step: its number, and random draws. Draws of `step.draw` are the same however a batch is divided among
                processes and micro-batches; torch's own generators are seeded too, for each share.
        """

    @abstractmethod
    def step(self, views: Any) -> dict[str, Tensor]:
        """Scalar losses by name, in one order, means over the images of the views. Runs in the recipe's precision.

        `loss` is what is minimised; all are columns of the history. With several processes each has a share of the
        images, and the mean over processes is taken: batch norms see the whole micro-batch, and what compares images
        with one another calls `whole_batch` of pretraining/shares.py, so that the number of processes changes nothing.
        """

    def after_step(self, done: int) -> None:
        """Called after the optimiser's step, without gradients; `done`: steps so far. For momentum encoders, queues."""

    @property
    @abstractmethod
    def encoder(self) -> dict[str, Tensor]:
        """What is written to the weight file, under the names that loaders expect: on the CPU, float32."""

    def derived(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Further columns of a row of the history, from mean losses."""
        return {}

    def sheet(self, images: Tensor, step: Step) -> Sheet | None:
        """What the network makes of (N, 1, S, S) images, without gradients; None: there is nothing to look at."""
        return None

    @classmethod
    def draw_masks(cls, spec: S, image: Tensor, path: Path) -> None:
        """A PNG of what is masked in one (S, S) image, without training.

        Raises:
            BenchError: the method masks nothing.
        """
        raise BenchError(f"method '{spec.method}' masks nothing that could be drawn. Leave --show-masks out to train.")


METHODS: Registry[type[Method[Any]]] = Registry("pre-training method", home="usfm_bench.pretraining.methods")
"""Method name -> class."""
