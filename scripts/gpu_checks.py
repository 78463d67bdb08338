"""Check an installation on a GPU in under ten minutes: `python scripts/gpu_checks.py [--out FOLDER]`, or `make gpu`.

Prints the device, the tests marked `gpu`, the precision that training really uses, the speed of each network of the
paper's recipe beside fp32 and the card's own products, whether losses stay finite, what the same seed gives twice,
compiled losses, several trials on one card, BUSI's suites in short and how running out of memory ends, as a Markdown
table and as JSON. A part that fails is a row that says so, and the others go on; `--skip` and `--only` name parts by
their first letters, and none begins after `--minutes`. Images are random where no suite is named, so no score of theirs
means anything.
`--tiny` takes small networks and few steps, which a CPU or a check of this script itself can do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gpu_commands import SkippedError, check_suite, check_tests, check_workers
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise, build_augmentation
from usfm_bench.models import build_model
from usfm_bench.models.memory import free_device, out_of_memory
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.suites.recipes import load_profile
from usfm_bench.training.device import build_fabric, describe_device, peak_memory_mb, reset_peak_memory
from usfm_bench.training.dtypes import Dtypes, used_precision, watch_dtypes
from usfm_bench.training.finetune import _augmented, _step
from usfm_bench.training.optim import build_optimizer
from usfm_bench.training.predict import predict_logits, validate
from usfm_bench.training.seeding import Stream, torch_seeded

THREE_CLASSES: Any = SimpleNamespace(classes=("a", "b", "c"), class_counts=np.ones(3, np.int64), structures=())
"""Stands for training cases."""
NETWORKS = {
    "SegViT, ViT-B 512": ("segmentation", "usfm-scratch", {}),
    "UPerNet, ViT-B 512": ("segmentation", "usfm-scratch", {"decoder": "upernet"}),
    "UPerNet, ConvNeXt-T 512": ("segmentation", "timm:convnext_tiny@scratch", {"decoder": "upernet"}),
    "U-Net, ResNet-18 512": ("segmentation", "unet-resnet18-scratch", {}),
    "classifier, ViT-B 224": ("classification", "usfm-scratch", {}),
    "classifier, ResNet-50 224": ("classification", "timm:resnet50@scratch", {}),
}
TINY = {
    "SegViT, micro": ("segmentation", "usfm-micro-scratch", {}),
    "UPerNet, micro": ("segmentation", "usfm-micro-scratch", {"decoder": "upernet"}),
    "classifier, micro": ("classification", "usfm-micro-scratch", {}),
}


@dataclass(frozen=True)
class Size:
    """How much is done."""

    networks: dict[str, tuple[str, str, dict[str, Any]]]
    changes: dict[str, Any]
    """Keys of the recipe that differ from the paper's."""
    timed: int
    """Steps that are timed in bf16; a sixth as many in fp32, where they take long."""
    finite: int
    """Steps in bf16 whose losses must be finite."""
    epochs: int
    """Of BUSI's suites."""
    model: str
    """Of BUSI's suites."""


FULL = Size(NETWORKS, {}, 30, 120, 3, "usfm-scratch")
SMALL = Size(TINY, {"image_size": 32, "batch_size": 4}, 3, 6, 1, "usfm-micro-scratch")


class Training:
    """A network of the paper's recipe, on random images, ready for steps."""

    def __init__(self, size: Size, name: str, device: str, seed: int = 0, **changes: Any) -> None:
        task, model, own = size.networks[name]
        values = load_profile("paper").recipe(task).model_dump() | {"precision": "bf16"}
        self.spec = TrainingSpec.model_validate(values | own | size.changes | changes)
        self.fabric, self.seed = build_fabric(self.spec, device), seed
        with torch_seeded(seed, Stream.INITIALISATION):
            model_ = build_model(model, TASKS[task], THREE_CLASSES, self.spec)
        self.model = model_.to(memory_format=torch.channels_last)
        self.normalise = self.fabric.to_device(Normalise(self.model.mean, self.model.std))
        self.net, self.optimizer = self.fabric.setup(self.model, build_optimizer(self.model, self.spec))
        self.net.mark_forward_method("loss")
        self.data = random_data(task, 2 * self.spec.batch_size, self.spec.image_size).near(self.fabric.device)
        if self.spec.compile:
            self.model.loss = torch.compile(self.model.loss)
        self.augment = build_augmentation(self.spec.augment, TASKS[task].augmented)
        self.seen: Dtypes = {}

    def steps(self, count: int) -> Tensor:
        """Losses of so many steps, on the device."""
        losses, batch = [], self.spec.batch_size
        self.net.train()
        unwatched = nullcontext() if self.spec.compile else watch_dtypes(self.model, self.seen)
        with torch_seeded(self.seed, Stream.EPOCH), unwatched:
            for step in range(count):
                rows = np.arange(batch) + step % 2 * batch
                [(images, targets)] = self.data.batches(batch, self.fabric.device, rows)
                images, targets = _augmented(self.augment, self.data.task, images, targets)
                images = self.normalise(images)
                losses.append(_step(self.net, self.optimizer, self.fabric, self.spec, images, targets))
        return torch.stack(losses)

    def validate(self) -> float:
        """The validation score, and that logits are finite."""
        with watch_dtypes(self.model, self.seen):
            score = validate(self.net, self.normalise, self.data, self.spec.batch_size, self.fabric.device)
            with self.fabric.autocast():
                logits = predict_logits(self.model, self.normalise, self.data, self.spec.batch_size, self.fabric.device)
        if not bool(torch.isfinite(logits).all()):
            raise AssertionError(f"{int((~torch.isfinite(logits)).sum())} logits are not finite")
        return score

    @property
    def precision(self) -> str:
        """What was computed with."""
        return used_precision(self.seen, "nothing was seen")


def random_data(task: str, n: int, size: int) -> NetworkData:
    """Noise with a bright rectangle, its mask, or three classes in turn."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 128, (n, 1, size, size), generator=draw, dtype=torch.uint8)
    masks = torch.zeros_like(images)
    for row in range(n):
        masks[row, :, size // 4 + row % 4 : size // 2, size // 3 : size // 2 + row % 5] = 1
    images += 100 * masks
    targets = masks if TASKS[task].needs == "mask" else torch.arange(n) % 3
    return NetworkData(images, targets, TASKS[task])


def timed(training: Training, count: int) -> float:
    """Milliseconds a step, after three that are not counted."""
    training.steps(min(3, count))
    wait_for(training.fabric.device)
    started = time.perf_counter()
    training.steps(count)
    wait_for(training.fabric.device)
    return 1000 * (time.perf_counter() - started) / count


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@cache
def ceiling(device: str) -> float:
    """Operations a second of the card's own products of large bf16 matrices."""
    side, times = (8192, 20) if device == "cuda" else (512, 2)
    a = torch.randn(side, side, dtype=torch.bfloat16, device=device)
    for count in (3, times):  # the first are not counted
        wait_for(a.device)
        started = time.perf_counter()
        for _ in range(count):
            a @ a
        wait_for(a.device)
    return times * 2 * side**3 / (time.perf_counter() - started)


def check_ceiling(device: str) -> str:
    """What the networks' shares are of."""
    return f"{ceiling(device) / 1e12:.1f} TFLOP/s in products of bf16 matrices"


def check_network(size: Size, name: str, device: str) -> str:
    """Speed, memory, precision and validation of one network."""
    fp32 = Training(size, name, device, precision="fp32")
    slow = timed(fp32, max(1, size.timed // 6))
    said_32 = fp32.precision
    del fp32
    free_device()
    training = Training(size, name, device)
    reset_peak_memory(training.fabric)
    fast, score = timed(training, size.timed), training.validate()
    images = 1000 * training.spec.batch_size / fast
    with FlopCounterMode(display=False) as counted:
        training.steps(1)
    share = counted.get_total_flops() / (fast / 1000) / ceiling(device)
    return (
        f"{training.precision}: {fast:.1f} ms a step of {training.spec.batch_size}, {images:.0f} images/s, "
        f"{100 * share:.0f} % of the card's own products, "
        f"{peak_memory_mb(training.fabric):.0f} MiB; {said_32}: {slow:.1f} ms; validation {score:.3f}"
    )


def check_finite(size: Size, name: str, device: str) -> str:
    """Losses over many steps in bf16."""
    training = Training(size, name, device, lr=1e-4, lr_scale_batch=None)
    losses = training.steps(size.finite).float().cpu()
    if not bool(torch.isfinite(losses).all()):
        raise AssertionError(f"the loss is {losses[~torch.isfinite(losses)][0]} in {training.precision}")
    return f"{len(losses)} finite losses in {training.precision}, {losses[:5].mean():.3f} to {losses[-5:].mean():.3f}"


def check_attention(size: Size, device: str) -> str:
    """SegViT's validation with and without cuDNN's attention."""
    said = []
    for wanted in (False, True):
        training = Training(size, next(iter(size.networks)), device, cudnn_attention=wanted)
        try:
            said.append(f"{'with' if wanted else 'without'}: {training.validate():.4f}")
        except Exception as error:
            if not wanted:
                raise
            said.append(f"with: {first_line(error)}")
    torch.backends.cuda.enable_cudnn_sdp(False)
    return "; ".join(said)


def check_compile(size: Size, name: str, device: str) -> str:
    """A step with its loss compiled and not, and how long compiling takes."""
    plain = timed(Training(size, name, device), size.timed)
    free_device()
    training = Training(size, name, device, compile=True)
    started = time.perf_counter()
    training.steps(1)
    wait_for(training.fabric.device)
    once = time.perf_counter() - started
    compiled = timed(training, size.timed)
    said = f"{plain:.1f} ms a step as it is, {compiled:.1f} ms compiled"
    return f"{said}: {plain / compiled:.2f} times as fast, after {once:.0f} s of compiling"


def check_seed(size: Size, name: str, device: str, *, deterministic: bool = False) -> str:
    """The largest difference of losses and weights between two trainings of one seed."""
    runs = []
    for _ in range(2):
        training = Training(size, name, device, seed=7, lr=1e-4, lr_scale_batch=None, deterministic=deterministic)
        losses = training.steps(max(4, size.timed // 3)).float().cpu()
        runs.append((losses, torch.cat([p.detach().float().flatten().cpu() for p in training.model.parameters()])))
        del training
        free_device()
    (loss, weights), (loss_2, weights_2) = runs
    if torch.equal(loss, loss_2) and torch.equal(weights, weights_2):
        return "the same bits"
    if deterministic:
        raise AssertionError("deterministic algorithms gave other bits")
    return (
        f"losses differ by at most {float((loss - loss_2).abs().max()):.2e}, "
        f"weights by {float((weights - weights_2).abs().max()):.2e}"
    )


def check_memory(size: Size, device: str) -> str:
    """A step that needs more memory than may be taken: it is recognised, and the memory is free afterwards."""
    if device != "cuda":
        return "no GPU"
    free_device()
    before, said = torch.cuda.memory_reserved(), None
    try:
        training = Training(size, list(size.networks)[-1], device)
        limit = torch.cuda.memory_reserved() + 64 * 2**20
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
        training.steps(2)
        torch.empty(limit, dtype=torch.uint8, device=device)
    except Exception as error:
        said = out_of_memory(error)
        if said is None:
            raise
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    training = None  # type: ignore[assignment]
    free_device()
    after = torch.cuda.memory_reserved()
    if said is None:
        raise AssertionError("memory did not run out")
    if after > before + 128 * 2**20:
        raise AssertionError(f"{(after - before) / 2**20:.0f} MiB stay reserved")
    return f"recognised; {after / 2**20:.0f} MiB reserved afterwards, {before / 2**20:.0f} before"


def describe(size: Size, device: str) -> str:
    """The device as a record describes it."""
    training = Training(size, list(size.networks)[-1], device)
    training.steps(1)
    found = describe_device(training.fabric, training.seen)
    return "; ".join(f"{key}: {value}" for key, value in {"torch": torch.__version__, **found}.items())


def sections(size: Size, device: str, data_root: Path | None) -> dict[str, Callable[[], str]]:
    """What is checked, in order: what matters most first, since time on a device may end."""
    names = list(size.networks)
    last = "classifier, ViT-B 224" if "classifier, ViT-B 224" in names else names[-1]
    short = partial(check_suite, device=device, data_root=data_root, epochs=size.epochs, model=size.model)
    return {
        "device": partial(describe, size, device),
        "ceiling": partial(check_ceiling, device),
        **{name: partial(check_network, size, name, device) for name in names},
        "attention of cuDNN, SegViT": partial(check_attention, size, device),
        **{f"finite losses, {name}": partial(check_finite, size, name, device) for name in (names[0], last)},
        "same seed twice, SegViT": partial(check_seed, size, names[0], device),
        f"same seed twice, {last}": partial(check_seed, size, last, device),
        **{f"deterministic, {name}": partial(check_seed, size, name, device, deterministic=True) for name in names[:2]},
        "memory that runs out": partial(check_memory, size, device),
        "tests": partial(check_tests, device),
        **{f"compile, {name}": partial(check_compile, size, name, device) for name in (names[0], last)},
        "busi-seg, paper": partial(short, "busi-seg"),
        "busi-cls, paper": partial(short, "busi-cls"),
        "workers": partial(check_workers, device),
    }


def first_line(error: BaseException) -> str:
    """An error in a cell of a table."""
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0][:200]}".replace("|", "/")


def main() -> int:
    """Run every part; exit 1 when one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="small networks and few steps")
    parser.add_argument("--out", type=Path, help="folder for gpu.md and gpu.json, or a file of the table, FILE.md")
    parser.add_argument("--data-root", type=Path, help="folder that holds Dataset_BUSI_with_GT")
    parser.add_argument("--skip", default="", help="parts to leave out, by their first word: compile,workers")
    parser.add_argument("--only", default="", help="parts to run alone, by how they begin")
    parser.add_argument("--minutes", type=float, default=10, help="no part begins later than this")
    given = parser.parse_args()
    parts = sections(SMALL if given.tiny else FULL, given.device, given.data_root)
    skip, only = (tuple(filter(None, text.split(","))) for text in (given.skip, given.only))
    if strange := [word for word in (*skip, *only) if not any(name.startswith(word) for name in parts)]:
        parser.error(f"no part begins with {', '.join(strange)}; there are {'; '.join(parts)}")
    began, rows = time.perf_counter(), []
    for name, check in parts.items():
        if name.startswith(skip or ("\0",)) or not name.startswith(only or ""):
            continue
        late = time.perf_counter() - began > 60 * given.minutes
        rows.append(Row(name, "skipped", f"{given.minutes:g} minutes are over", 0.0) if late else run_part(name, check))
        print(line(rows[-1]), file=sys.stderr, flush=True)
        if given.out:  # after each row: what is known is kept, whatever comes
            write(given.out, rows)
    print(table(rows))
    return int(any(row.state == "FAILED" for row in rows))


@dataclass(frozen=True)
class Row:
    """How a part ended."""

    name: str
    state: str
    said: str
    seconds: float


def run_part(name: str, check: Callable[[], str]) -> Row:
    """One part, whatever happens in it."""
    started = time.perf_counter()
    try:
        said, state = check(), "ok"
    except SkippedError as error:
        said, state = str(error), "skipped"
    except Exception as error:
        said, state = first_line(error), "FAILED"
    free_device()
    return Row(name, state, said, round(time.perf_counter() - started, 1))


def write(out: Path, rows: Sequence[Row]) -> None:
    """The table and the same as JSON."""
    markdown = out if out.suffix == ".md" else out / "gpu.md"
    markdown.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(table(rows))
    markdown.with_suffix(".json").write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")


def line(row: Row) -> str:
    """Of the table."""
    return f"| {row.name} | {row.state} | {row.said} | {row.seconds:.1f} |"


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    return "\n".join(["| check | state | result | s |", "|:--|:--|:--|--:|", *map(line, rows), ""])


if __name__ == "__main__":
    sys.exit(main())
