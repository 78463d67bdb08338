"""Any model of timm, with the weights that timm names, random ones, or those of a file with timm's own tensor names."""

from __future__ import annotations

import re
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usfm_bench.core.errors import unknown
from usfm_bench.specs.family import FAMILIES, Checkpoint, Family

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.specs.model import ModelEntry

_PLAIN = ("vit_", "deit", "beit", "eva", "usfm_")
_REGISTERED = re.compile(r"^@register_model\s+def (\w+)", re.MULTILINE)


class Timm(Family):
    """Models by timm's names; their heads are replaced."""

    name = "timm"
    title = "timm's model"
    usage = "timm:NAME (its weights), timm:NAME=PATH (those of a file) and timm:NAME@scratch"
    varied = True
    trained_on = "what timm's card of the model says"

    def entry(self, name: str, rest: str) -> ModelEntry:
        """`timm:NAME` with timm's weights, `timm:NAME=PATH` with a file's, `timm:NAME@scratch` without."""
        from usfm_bench.specs.model import ADAPTATIONS, ModelEntry, file_entry

        architecture, is_file, path = rest.partition("=")
        if is_file:
            self.check_architecture(architecture)
            entry = file_entry(self, name, Path(path))
            return replace(entry, architecture=architecture, title=f"timm's {architecture}, {Path(path).name}")
        architecture, at, suffix = rest.partition("@")
        if at and suffix != "scratch":
            own = (f"timm:{architecture}@{known}" for known in ("scratch", *ADAPTATIONS))
            hint = f"Behind a name of timm may stand @scratch, then one of: @{', @'.join(ADAPTATIONS)}."
            raise unknown("model", name, own, hint=hint)
        self.check_architecture(architecture)
        words = "random weights" if at else "its pre-trained weights"
        return ModelEntry(
            name,
            self.name,
            architecture,
            f"timm's {architecture}, {words}",
            weights="scratch" if at else "hub",
            source="" if at else "the hub that timm names",
            trained_on="" if at else self.trained_on,
        )

    def check_architecture(self, architecture: str) -> None:
        """A model that timm has, and weights of it where the name goes on with them behind a dot."""
        if architecture in _names():
            return
        try:
            import timm
        except ModuleNotFoundError:
            return  # an install for reporting: names of finished trials need no check
        base = architecture.split(".")[0]
        if not timm.is_model(base):
            raise unknown("timm model", architecture, timm.list_models(), hint="`timm.list_models()` shows all.")
        if architecture != base and not timm.is_model_pretrained(architecture):
            raise unknown("weights of timm", architecture, timm.list_pretrained(f"{base}.*"))

    def is_plain(self, architecture: str) -> bool:
        """Transformers without stages."""
        return architecture.startswith(_PLAIN)

    def is_sized(self, architecture: str, size: int) -> bool:
        """Transformers, and models with windows or positions of a grid that is not this one."""
        if self.is_plain(architecture):
            return True
        return not _runs(architecture, size) and _runs(architecture, size, img_size=size)

    def read(self, path: Path, architecture: str = "") -> Checkpoint:
        """A state dict of timm's model, or of the publication that timm's filter knows; the classifier is left out."""
        from usfm_bench.models.checkpoint import read_checkpoint

        heads, state = _heads(architecture), read_checkpoint(path)
        return Checkpoint(
            architecture,
            {key: value for key, value in state.items() if not key.startswith(heads)},
            ignored=sorted(key for key in state if key.startswith(heads)),
        )

    def fitted(self, state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
        """Where names are not timm's own, through the filter with which timm reads other forms of this model."""
        filtered = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        if filtered is not None and not model.state_dict().keys() <= state.keys():
            with suppress(Exception):  # of no form that it knows: then the keys are told as they are
                heads = _heads(getattr(model, "pretrained_cfg", {}).get("architecture", ""))
                state = {key: value for key, value in filtered(dict(state), model).items() if not key.startswith(heads)}
        return super().fitted(_with_resized_windows(state, model), model)


def _with_resized_windows(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Tables of positions within a window, (positions, heads), at the model's windows: small images have smaller."""
    from timm.layers import resize_rel_pos_bias_table

    resized = {}
    for name, module in model.named_modules():
        key, wanted = f"{name}.relative_position_bias_table", getattr(module, "relative_position_bias_table", None)
        if wanted is not None and key in state and state[key].shape != wanted.shape:
            with warnings.catch_warnings():  # of torch, on how timm searches a grid
                warnings.simplefilter("ignore", UserWarning)
                resized[key] = resize_rel_pos_bias_table(state[key], module.window_size, wanted.shape)
    return state | resized


def _heads(architecture: str) -> tuple[str, ...]:
    """What the names of a classifier begin with."""
    import timm

    config = timm.get_pretrained_cfg(architecture) if architecture else None
    heads = config.classifier if config and config.classifier else ()
    return tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))


@cache
def _runs(architecture: str, size: int, **settings: int) -> bool:
    """Whether a model takes images of (size, size); nothing is computed."""
    import timm
    import torch

    # Each of timm's models refuses in its own way. On the meta device no random number is drawn.
    with torch.device("meta"), torch.no_grad(), suppress(Exception):
        timm.create_model(architecture, **settings).eval()(torch.zeros(1, 3, size, size))
        return True
    return False


@cache
def _names() -> frozenset[str]:
    """Names of timm's models, read from its source: to import timm takes seconds, which a plan can do without."""
    found = find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    sources = Path(found.submodule_search_locations[0], "models").glob("*.py")
    return frozenset(name for path in sources for name in _REGISTERED.findall(path.read_text(encoding="utf-8")))


FAMILIES.register(Timm.name)(Timm())
