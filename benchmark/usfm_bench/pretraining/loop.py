"""The pre-training loop, top to bottom: one process or several, resumable with the same bits on a CPU."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from usfm_bench import __version__
from usfm_bench.core.environment import describe_environment, now
from usfm_bench.core.errors import BenchError, TrialError
from usfm_bench.core.files import check_writable, write_atomic
from usfm_bench.core.settings import content_hash
from usfm_bench.models.memory import free_device, out_of_memory
from usfm_bench.pretraining.card import Card, card_path
from usfm_bench.pretraining.checkpoint import check_state, kept, read_state
from usfm_bench.pretraining.data import PretrainImages
from usfm_bench.pretraining.figures import write_sheet
from usfm_bench.pretraining.flops import counted
from usfm_bench.pretraining.launch import check_alike, check_launch, gathered, is_first, launched, together
from usfm_bench.pretraining.sampling import Reader, Step
from usfm_bench.pretraining.shares import share_batch_norms
from usfm_bench.pretraining.store import in_a_file
from usfm_bench.pretraining.written import open_board, write_history, write_weights
from usfm_bench.specs.method import METHODS, Method
from usfm_bench.specs.pretraining import Options, PretrainSpec
from usfm_bench.training.device import describe_device, device_fabric, resolve_device, set_up_process
from usfm_bench.training.dtypes import Dtypes, watch_dtypes
from usfm_bench.training.seeding import Stream, torch_seeded

_WITHOUT_DECAY = ("bias_table", "cls_token", "pos_embed")
Places = NDArray[np.int64]
Tell = Callable[[dict[str, float]], None]
"""Told of each row of the history: step, lr, the method's losses, images_per_s."""


def _silent(row: dict[str, float]) -> None:
    """Tell nobody."""


def pretrain(spec: PretrainSpec, data: PretrainImages, options: Options, tell: Tell = _silent) -> Card:
    """Pre-train an encoder by the spec's method and write its weights, with a card that says how.

    Raises:
        BenchError: half-done work is in the way, or is of other settings or data; or there are not as many devices.
        TrialError: the loss is not finite, or memory runs out; the last good checkpoint is kept.
    """
    options = options.model_copy(update={"device": resolve_device(options.device)})
    together(lambda: _check(spec, data, options))
    check_alike({"version": __version__, "recipe": spec.hash, "sources": content_hash(data.sources)})
    n, nodes = (found.here, found.nodes) if (found := launched()) else (options.devices, 0)
    fabric = device_fabric(spec.precision, spec.threads, options.device, devices=n, nodes=nodes)
    fault: BenchError | None
    try:
        if n > 1 or nodes:
            # The weights come back as a file. Fabric looks into arguments, not into a partial.
            with in_a_file(data) as shared:
                fault = fabric.launch(partial(_train, spec=spec, data=shared, options=options, tell=tell))
        else:
            fault = _train(fabric, spec, data, options, tell)
    except Exception as error:
        if (said := out_of_memory(error)) is None:
            raise
        fault = TrialError(
            f"{said} (--set batch_size=N, --set image_size=N), or more micro-batches a step (--set accumulate=N)."
            f"{kept(options)}"
        )
    if fault is not None:
        fault = fault.with_traceback(None)  # whose frames would keep their tensors on the device
        free_device()
        raise fault
    # The file lies where the first process wrote it, which other machines may not see.
    text = card_path(options.out).read_text(encoding="utf-8") if is_first() else ""
    return Card.model_validate_json(gathered(text)[0])


def _check(spec: PretrainSpec, data: PretrainImages, options: Options) -> None:
    """Raise a BenchError for what can be seen before anything is trained."""
    check_launch(options.device, options.devices)
    found = launched()
    devices = options.devices if found is None else found.world
    if spec.batch_size % (devices * spec.accumulate):
        raise BenchError(
            f"batch_size {spec.batch_size} is not a multiple of {devices} devices x {spec.accumulate} micro-batches."
        )
    _check_distinct(spec, data)
    if is_first():
        check_writable(options.out.parent)
        check_state(spec, data, options)


def _train(fabric: Any, spec: PretrainSpec, data: PretrainImages, options: Options, tell: Tell) -> BenchError | None:
    """Train in this process; a fault of the user's is given back, since it would not pass between processes whole."""
    try:
        run = _Run(fabric, spec, data, options)
        run.load()
        with run.watched():
            while run.step < spec.steps:
                row = run.train_step() if run.flops is not None or options.compile else run.counted_step()
                if row is not None and fabric.is_global_zero:
                    tell(row)
                if run.step < spec.steps and run.checkpoint_is_due(row is not None):
                    run.save()
                if options.sheet_every and run.step % options.sheet_every == 0:
                    run.draw_sheet()
        run.finish()
    except BenchError as error:
        return error
    return None


class _Trained(nn.Module):
    """A method's step as the forward pass of its network, through which distributed training sees gradients."""

    def __init__(self, method: Method[Any]) -> None:
        super().__init__()
        self.network, self._step = method.network, method.step

    def forward(self, views: Any) -> dict[str, Tensor]:
        return self._step(views)


class _Run:
    """Method, optimiser and position of one process."""

    def __init__(self, fabric: Any, spec: PretrainSpec, data: PretrainImages, options: Options) -> None:
        set_up_process(spec.precision, spec.threads, fabric.device.type)  # a launched process starts with its own
        self.fabric, self.spec, self.data, self.options = fabric, spec, data, options
        self.world = fabric.world_size
        with torch_seeded(spec.seed, Stream.INITIALISATION):
            self.method = METHODS[spec.method](spec)
        self.network = self.method.network
        share_batch_norms(self.network, fabric.device.type)
        skip = {name for name, _ in self.network.named_parameters() if name.endswith(_WITHOUT_DECAY)}
        groups = param_groups_weight_decay(self.network, spec.weight_decay, skip)
        self.optimizer = torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, fused=True)
        if options.compile:
            self.network.compile()
        self.net, self.wrapped = fabric.setup(_Trained(self.method), self.optimizer)
        self.reader = Reader(data.images, data.organs, spec.seed)
        self.step, self.wall_s = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.dtypes: Dtypes = {}
        self.flops: float | None = None
        self._losses: tuple[str, ...] = ()
        self._since_row: list[Tensor] = []
        self._board = open_board(options.tensorboard) if fabric.is_global_zero else None
        self._clock = self._row_clock = self._saved_at = time.perf_counter()

    def watched(self) -> AbstractContextManager[None]:
        """Note what the network computes with; a compiled one, which hooks would break, is not looked at."""
        return nullcontext() if self.options.compile else watch_dtypes(self.network, self.dtypes)

    @contextmanager
    def _off_the_clock(self) -> Iterator[None]:
        """Leave what is done here out of the speed of training steps."""
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize()  # steps that are still running are on the clock
        started = time.perf_counter()
        yield
        self._row_clock += time.perf_counter() - started

    def counted_step(self) -> dict[str, float] | None:
        """A step whose operations are counted: the first of a training, since all are alike."""
        row, flops = counted(self.train_step)
        share = torch.tensor(flops / self.spec.batch_size, dtype=torch.float64, device=self.fabric.device)
        self.flops = float(self.fabric.all_reduce(share, reduce_op="sum"))
        return row

    def train_step(self) -> dict[str, float] | None:
        """One optimiser step; a row of the history where one is due."""
        spec = self.spec
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(spec, self.step)
        # Images and draws depend on their places in the batch alone, however it is divided.
        for number, places in enumerate(np.arange(spec.batch_size).reshape(spec.accumulate, -1)):
            last = number == spec.accumulate - 1
            with self.fabric.no_backward_sync(self.net, enabled=not last and self.world > 1):
                losses = self._share(places[self.fabric.global_rank :: self.world])
                self.fabric.backward(losses["loss"] / spec.accumulate)
            self._losses = tuple(losses)
            self._since_row.append(torch.stack(list(losses.values())).detach())
        if spec.clip_norm is not None:
            self.fabric.clip_gradients(self.net, self.wrapped, max_norm=spec.clip_norm, error_if_nonfinite=False)
        self.wrapped.step()
        self.wrapped.zero_grad()
        self.step += 1
        with torch.no_grad():
            self.method.after_step(self.step)
        due = self.step % self.options.log_every == 0 or self.step % self.options.checkpoint_every == 0
        return self._row() if due or self.step == spec.steps else None

    def _share(self, places: Places) -> dict[str, Tensor]:
        """Losses of this process's share of a micro-batch."""
        positions = self.step * self.spec.batch_size + places
        images = self._on_device(self.reader.batch(positions, ahead=self.spec.batch_size // self.spec.accumulate))
        with torch_seeded(self.spec.seed, Stream.STEP, self.step, int(places[0])):
            with torch.no_grad():
                views = self.method.views(images, self._step(self.step, places, self.spec.batch_size))
            losses: dict[str, Tensor] = self.net(views)
        return losses

    def _step(self, number: int, places: Places, batch_size: int) -> Step:
        return Step(number, places, batch_size, self.spec.seed)

    def _on_device(self, images: NDArray[np.uint8]) -> Tensor:
        on_device: Tensor = torch.from_numpy(images).to(self.fabric.device, non_blocking=True)[:, None].float() / 255
        return on_device

    def _row(self) -> dict[str, float]:
        """Mean losses since the last row, over all processes.

        Raises:
            TrialError: one of them is not finite.
        """
        means = self.fabric.all_reduce(torch.stack(self._since_row).mean(dim=0)).tolist()
        losses = dict(zip(self._losses, means, strict=True))
        self._since_row.clear()
        if not math.isfinite(losses["loss"]):
            raise self._diverged(f"the loss is {losses['loss']}")
        elapsed, self._row_clock = time.perf_counter() - self._row_clock, time.perf_counter()
        steps = self.step - (int(self.history[-1]["step"]) if self.history else 0)
        row = {
            "step": float(self.step),
            "lr": learning_rate(self.spec, self.step - 1),
            **losses,
            **self.method.derived(losses),
            "images_per_s": steps * self.spec.batch_size / elapsed,
        }
        self.history.append(row)
        if self._board is not None:
            for name in row.keys() - {"step"}:
                self._board.add_scalar(name, row[name], self.step)
        return row

    def _diverged(self, what: str) -> TrialError:
        return TrialError(
            f"{what} at step {self.step} of {self.spec.steps}.{kept(self.options)} A smaller learning rate, or "
            "precision fp32, usually helps."
        )

    def _check_finite(self) -> None:
        """The loss was checked before the last update, the weights are what it left."""
        if not all(bool(torch.isfinite(p).all()) for p in self.network.parameters()):
            raise self._diverged("weights are not finite")

    def checkpoint_is_due(self, has_row: bool) -> bool:
        """By steps; or by time, where a row of the history has just closed, so that a checkpoint changes no row."""
        if self.step % self.options.checkpoint_every == 0:
            return True
        late = time.perf_counter() - self._saved_at >= 60 * self.options.checkpoint_minutes
        return has_row and bool(self.fabric.broadcast(late))  # processes have to agree

    def save(self) -> None:
        """Write the checkpoint, atomically, from the first process.

        Raises:
            TrialError: a weight is not finite; the last good checkpoint stays.
        """
        with self._off_the_clock():
            self._save()
        self._saved_at = time.perf_counter()

    def _save(self) -> None:
        self._check_finite()
        self._spend()
        content = {
            "spec": self.spec.model_dump(mode="json"),
            "sources": self.data.sources,
            "step": self.step,
            "wall_s": self.wall_s,
            "history": self.history,
            "dtypes": self.dtypes,
            "flops": self.flops,
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

        def write() -> None:
            write_atomic(self.options.state, lambda stream: torch.save(content, stream))
            write_history(self.options.out, self.history)

        self._by_first(write)

    def _by_first(self, write: Callable[[], None]) -> None:
        """Have the first process write; a fault of it, such as a full disk, ends all of them."""
        fault = None
        if self.fabric.is_global_zero:
            try:
                write()
            except BenchError as error:
                fault = TrialError(f"{error} The training ended at step {self.step}.{kept(self.options)}")
        if (fault := self.fabric.broadcast(fault)) is not None:
            raise fault

    def load(self) -> None:
        """Continue from the checkpoint, where the first process finds one."""
        state = self.options.state
        content = read_state(state) if self.fabric.is_global_zero and state.exists() else None
        content = self.fabric.broadcast(content)
        if content is None:
            return
        self.network.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.wall_s, self.history = content["step"], content["wall_s"], content["history"]
        self.dtypes.update(content.get("dtypes", {}))
        self.flops = content.get("flops")

    @torch.no_grad()
    def draw_sheet(self) -> None:
        """What the method shows of the first images, if anything."""
        if self.fabric.is_global_zero and self.options.sheet_every:
            with self._off_the_clock():
                self._draw_sheet()

    def _draw_sheet(self) -> None:
        places = np.arange(4)
        images = self._on_device(self.reader.batch(places))
        self.network.eval()  # no statistics of a training batch are changed
        with self.fabric.autocast(), torch_seeded(self.spec.seed, Stream.STEP, self.step):
            sheet = self.method.sheet(images, self._step(0, places, len(places)))
        self.network.train()
        if sheet is not None:
            write_sheet(self.options.out.with_suffix(".png"), sheet, self.step)

    def finish(self) -> None:
        """Write weights, history, sheet and, last, the card; then remove the checkpoint."""
        self._check_finite()
        self._spend()
        self.draw_sheet()
        environment = describe_environment() | describe_device(self.fabric, self.dtypes)
        environment |= {"devices": self.world, "finished": now()}

        def write() -> None:
            write_history(self.options.out, self.history)
            write_weights(
                self.options.out,
                self.method.encoder,
                self.spec,
                self.data,
                self.history,
                wall_s=self.wall_s,
                flops_per_image=self.flops,
                environment=environment,
            )
            if self._board is not None:
                self._board.close()
            self.options.state.unlink(missing_ok=True)

        self._by_first(write)

    def _spend(self) -> None:
        self.wall_s += time.perf_counter() - self._clock
        self._clock = time.perf_counter()


def learning_rate(spec: PretrainSpec, step: int) -> float:
    """Linear warm-up from 0 over `warmup_steps`, then a cosine to 0 at the end; `step` from 0.

    timm's schedule is not the same: its warm-up starts at its first value where this one ends it, and its cosine
    differs in the last bit, so that a recipe would give other weights.
    """
    if step < spec.warmup_steps:
        return spec.lr * (step + 1) / spec.warmup_steps
    done = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    return spec.lr * 0.5 * (1 + math.cos(math.pi * done))


def _check_distinct(spec: PretrainSpec, data: PretrainImages) -> None:
    """Every organ has the same share of a batch, and its images come again once all have been seen.

    Raises:
        BenchError: an image would be in a batch twice, and the method would tell it from itself.
    """
    counts = Counter(data.organs)
    organ, fewest = min(counts.items(), key=lambda of: (of[1], of[0]))
    if METHODS[spec.method].distinct and (most := fewest * len(counts)) < spec.batch_size:
        raise BenchError(
            f"method '{spec.method}' tells the images of a batch apart, and every organ has the same share of it: "
            f"there are {fewest} images of {organ}, so a batch of {spec.batch_size} would hold some twice. Set "
            f"batch_size to {most} or less, or add images."
        )
