"""EchoCare (arXiv:2509.11752): MONAI's Swin transformer of two dimensions with a convolution before each stage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from usfm_bench.core.errors import BenchError
from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Backbone, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.specs.model import ModelEntry


class EchoCare(Renamed):
    """Needs monai and einops. How its images were normalised is not published; here they stay in [0, 1]."""

    name = "echocare"
    title = "EchoCare encoder"
    usage = "echocare:PATH (pip install 'usfm-bench[echocare]')"
    image_size = 256
    mark = r"^(state_dict\.)?layers1c?\.0\.(layer\.conv1|blocks\.0\.attn\.relative_position_bias_table)"
    prefixes = (r"state_dict\.(?=layers\d|patch_embed)", "")
    renames = ((r"^", "swin."),)
    dropped = r"swin\.mask_token|.*\.relative_position_index$"  # an index follows from the window
    mean, std = (0.0,) * 3, (1.0,) * 3
    licence = "not stated"
    trained_on = "EchoCareData, 4.5 million images, partly public"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """Sizes by the shapes of the tensors; tables of positions tell window and heads."""
        tables = [state[f"swin.layers{k}.0.blocks.0.attn.relative_position_bias_table"] for k in (1, 2, 3, 4)]
        patches = state["swin.patch_embed.proj.weight"]
        depths = [
            1 + max(int(m[1]) for name in state if (m := re.match(rf"swin\.layers{k}\.0\.blocks\.(\d+)\.", name)))
            for k in (1, 2, 3, 4)
        ]
        settings = {
            "in_chans": patches.shape[1],
            "embed_dim": len(patches),
            "window_size": [(round(tables[0].shape[0] ** 0.5) + 1) // 2] * 2,
            "patch_size": list(patches.shape[2:]),
            "depths": depths,
            "num_heads": [table.shape[1] for table in tables],
            "use_v2": any(name.startswith("swin.layers1c.") for name in state),
        }
        return Checkpoint("swin_transformer", state, settings, ignored)

    def is_plain(self, architecture: str) -> bool:
        """It has stages."""
        return False

    def build(self, architecture: str, settings: dict[str, Any]) -> Any:
        """MONAI's encoder with a mean over its deepest map.

        Raises:
            BenchError: monai or einops is not installed.
        """
        try:
            from usfm_bench.models.zoo.echocare_encoder import EchoCareEncoder
        except ImportError:
            raise BenchError(f"The {self.title} needs monai and einops: pip install 'usfm-bench[echocare]'.") from None
        own = ("in_chans", "embed_dim", "window_size", "patch_size", "depths", "num_heads", "use_v2")
        rest = {"drop_path_rate": settings["drop_path_rate"]} if "drop_path_rate" in settings else {}
        return EchoCareEncoder({key: settings[key] for key in own} | rest)

    def stages(self, entry: ModelEntry, shape: dict[str, Any] | None = None, **sizes: int) -> Backbone:
        """Its last four maps, at strides 4 to 32."""
        return self.own_stages(entry, shape)


FAMILIES.register(EchoCare.name)(EchoCare())
