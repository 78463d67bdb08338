"""What concerns a whole batch, although each process sees a share of it: gathered tensors, batch norms, places.

The loop gives process r of W the images r, r + W, r + 2 W, ... of a micro-batch. Without several processes, everything
here gives back what it is given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from usfm_bench.core.errors import BenchError


def world() -> int:
    """Number of processes that share a batch."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def own_places(images: int, device: torch.device) -> Tensor:
    """(B,) places in the whole micro-batch of the B images of this process."""
    places = torch.arange(images, device=device)
    return places if world() == 1 else places * world() + torch.distributed.get_rank()


def whole_batch(rows: Tensor) -> Tensor:
    """(B, ...) rows, one for each image of this process -> (W B, ...) rows of the micro-batch, in its order.

    Every process has to call it, with as many rows. A gradient is the sum over the losses of all processes, so that the
    mean that distributed training takes is the gradient of the mean loss.
    """
    if world() == 1:
        return rows
    from lightly.utils.dist import gather

    return torch.stack(gather(rows.contiguous()), dim=1).flatten(0, 1)


def share_batch_norms(network: nn.Module, device: str) -> None:
    """Have every batch norm in a network take its statistics from the whole micro-batch, where processes share one.

    On a GPU it is torch's own `SyncBatchNorm`; on a CPU, where that does not run, the inputs are gathered.

    Raises:
        BenchError: lightly, which gathers them, is not installed.
    """
    if world() == 1:
        return
    if device == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    try:
        if norms:
            import lightly.utils.dist  # noqa: F401 - before the first step
    except ModuleNotFoundError:
        raise BenchError(
            "Batch norms over several processes on a CPU need lightly: pip install 'usfm-bench[ssl]'."
        ) from None
    for norm in norms:
        norm.register_forward_pre_hook(_gather_input)
        norm.register_forward_hook(_keep_own)


def _gather_input(norm: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (whole_batch(inputs[0]),) if norm.training else inputs


def _keep_own(norm: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output[torch.distributed.get_rank() :: world()] if norm.training else output
