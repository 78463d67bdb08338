"""The checkpoint of a pre-training, beside its weight file while it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import differing_fields
from usfm_bench.pretraining.data import PretrainImages
from usfm_bench.specs.pretraining import Options, PretrainSpec

_KEYS = {"spec", "sources", "step", "wall_s", "history", "model", "optimizer"}


def check_state(spec: PretrainSpec, data: PretrainImages, options: Options) -> None:
    """Raise a BenchError where half-done work is in the way, or is of other settings or data."""
    state = options.state
    if not state.exists():
        return
    if not options.resume:
        raise BenchError(f"'{state}' holds half-done work: --resume continues it; delete it to start anew.")
    content = read_state(state)
    changed = differing_fields(content["spec"], spec.model_dump(mode="json"))
    changed += differing_fields(content["sources"], data.sources)
    if changed:
        raise BenchError(
            f"'{state}' is of another pre-training and cannot be continued with these settings; it was left as it is:\n"
            + "\n".join(f"  {line}" for line in changed)
        )


def read_state(path: Path) -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        BenchError: it is damaged, or none.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a damaged file
        raise BenchError(f"'{path}' cannot be read ({str(error).splitlines()[0]}). Delete it to start anew.") from None
    if not isinstance(content, dict) or "spec" not in content:
        raise BenchError(f"'{path}' is no checkpoint of `usfm-bench pretrain`. Delete it to start anew.")
    if missing := sorted(_KEYS - content.keys()):
        raise BenchError(
            f"'{path}' is no whole checkpoint of `usfm-bench pretrain`: no {', '.join(missing)}. Delete it to start "
            "anew."
        )
    return content


def kept(options: Options) -> str:
    """What is left of a training that ends early, as a sentence after another one; empty where nothing is."""
    return f" The checkpoint {options.state} is kept." if options.state.exists() else ""
