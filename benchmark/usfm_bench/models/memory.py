"""Running out of memory: what counts as that, what is said, and how the device is freed for others."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator

import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from usfm_bench.core.words import size

# Libraries of CUDA allocate by themselves, and torch turns their status codes into plain RuntimeErrors. A handle that
# cannot be created is one that found no memory.
_GPU = re.compile(
    r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|cudaErrorMemoryAllocation"
    r"|ALLOC(ATION)?_FAILED|CUBLAS_STATUS_NOT_INITIALIZED|NCCL.*out of memory"
)
_CPU = re.compile(r"can't allocate memory|not enough memory|[Cc]annot allocate memory|std::bad_alloc")


def out_of_memory(error: BaseException) -> str | None:
    """What to tell the user where an error, or one that it came from, is a lack of memory; None where it is not."""
    for link in _chain(error):
        if isinstance(link, RuntimeError | ProcessRaisedException) and _GPU.search(f"{type(link).__name__}: {link}"):
            return (
                f"out of GPU memory{_held()}. Free the device (nvidia-smi shows what uses it), run fewer trials on it "
                "at once (--workers), or take a smaller batch_size or image_size"
            )
        if isinstance(link, MemoryError) or (isinstance(link, RuntimeError | OSError) and _CPU.search(str(link))):
            return "out of memory. Run fewer trials at once (--workers), or take a smaller batch_size or image_size"
    return None


def _held() -> str:
    """Who holds how much of the GPU that this process uses; empty where it uses none, or the driver does not say.

    What CUDA's own code and libraries take counts to the others: nothing here tells it apart from another process.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return ""
    try:
        free, total = torch.cuda.mem_get_info()
    except RuntimeError:  # a device whose last error stays, or that has no room for a query
        return ""
    own = torch.cuda.memory_reserved()
    others = max(0, total - free - own)
    return f": other processes and CUDA itself hold {size(others)} of its {size(total)}, this process {size(own)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def free_device() -> None:
    """Give what is not in use on the GPU back to the system, where other processes find it.

    Call it outside of `except`: the frames of an error that is being handled still hold their tensors.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()
