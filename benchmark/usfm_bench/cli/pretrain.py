"""`usfm-bench pretrain`: USFM's pre-training with spatial-frequency dual masking."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usfm_bench.cli.options import DATA_ROOT, CacheFolder, DataRoot, Device, RegistryFile, split_names
from usfm_bench.core.errors import BenchError

if TYPE_CHECKING:
    from usfm_bench.specs.pretraining import PretrainSpec

EXAMPLES = (
    "Examples: `usfm-bench pretrain --datasets phantom-unlabelled --all-images --model usfm_micro_patch16_224 "
    "--image-size 64 --mask-patch 16 --steps 1000 --out pretrained/mine.pth`, then `usfm-bench run --suite demo "
    "--models usfm:pretrained/mine.pth` · `usfm-bench pretrain --datasets busi --show-masks masks.png`"
)
_WHAT, _MASKS, _LOSS, _HOW = "What to pre-train", "Masking", "Losses and optimiser", "How to run it"


class Method(StrEnum):
    """What is masked."""

    usfm = "usfm"
    spatial = "spatial"
    frequency = "frequency"


class Precision(StrEnum):
    """Of the forward and backward pass."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class Pixels(StrEnum):
    """Pixels of the L1 loss."""

    all = "all"
    masked = "masked"


def pretrain(
    datasets: Annotated[str, typer.Option(help="Data sets to see, as a,b.", rich_help_panel=_WHAT)],
    out: Annotated[
        Path | None, typer.Option(help="Weight file to write, in USFM's published format.", rich_help_panel=_WHAT)
    ] = None,
    method: Annotated[
        Method,
        typer.Option(help="usfm: both maskings; spatial or frequency: one of them.", rich_help_panel=_WHAT),
    ] = Method.usfm,
    model: Annotated[str, typer.Option(help="timm's name of the encoder.", rich_help_panel=_WHAT)] = (
        "usfm_tiny_patch16_224"
    ),
    steps: Annotated[int, typer.Option(help="Optimiser steps.", rich_help_panel=_WHAT)] = 10_000,
    image_size: Annotated[int, typer.Option(help="Side of the input in pixels.", rich_help_panel=_WHAT)] = 224,
    seed: Annotated[int, typer.Option(help="Of weights, sampling and masks.", rich_help_panel=_WHAT)] = 0,
    all_images: Annotated[
        bool,
        typer.Option(
            "--all-images",
            help="See test images too; tables then say so. Else what the suites train on.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    split_seed: Annotated[
        int, typer.Option(help="Split whose training images are seen; the suites' is 0.", rich_help_panel=_WHAT)
    ] = 0,
    mask_patch: Annotated[int, typer.Option(help="Side of a masked patch in pixels.", rich_help_panel=_MASKS)] = 32,
    mask_ratio: Annotated[float, typer.Option(help="Share of patches masked.", rich_help_panel=_MASKS)] = 0.6,
    bandwidth: Annotated[
        float, typer.Option(help="Width of the innermost annulus, in cycles an image.", rich_help_panel=_MASKS)
    ] = 4.0,
    growth: Annotated[
        float, typer.Option(help="How much wider each next annulus is, as a share.", rich_help_panel=_MASKS)
    ] = 0.25,
    max_increase: Annotated[
        float, typer.Option(help="Most that an annulus is wider than the one inside it.", rich_help_panel=_MASKS)
    ] = 16.0,
    protected: Annotated[
        float, typer.Option(help="Radius of the centre that is never masked.", rich_help_panel=_MASKS)
    ] = 4.0,
    band_ratio: Annotated[float, typer.Option(help="Share of annuli stopped.", rich_help_panel=_MASKS)] = 0.3,
    magnitude: Annotated[
        bool,
        typer.Option("--magnitude", help="Magnitude instead of real part, as published.", rich_help_panel=_MASKS),
    ] = False,
    mask_normalised: Annotated[
        bool,
        typer.Option("--mask-normalised", help="Mask normalised images, as published.", rich_help_panel=_MASKS),
    ] = False,
    lambda_frequency: Annotated[
        float, typer.Option("--lambda", help="Weight of the focal frequency loss.", rich_help_panel=_LOSS)
    ] = 1.0,
    l1_over: Annotated[Pixels, typer.Option(help="Pixels of the L1 loss.", rich_help_panel=_LOSS)] = Pixels.all,
    batch_size: Annotated[int, typer.Option(help="Images a step, over all devices.", rich_help_panel=_LOSS)] = 64,
    accumulate: Annotated[int, typer.Option(help="Micro-batches a step.", rich_help_panel=_LOSS)] = 1,
    lr: Annotated[float, typer.Option(help="Peak learning rate.", rich_help_panel=_LOSS)] = 1e-3,
    warmup_steps: Annotated[int, typer.Option(help="Steps of warm-up.", rich_help_panel=_LOSS)] = 0,
    weight_decay: Annotated[float, typer.Option(help="AdamW's.", rich_help_panel=_LOSS)] = 0.05,
    drop_path: Annotated[float, typer.Option(help="Stochastic depth.", rich_help_panel=_LOSS)] = 0.0,
    precision: Annotated[
        Precision, typer.Option(help="auto: bf16 where the device has it.", rich_help_panel=_LOSS)
    ] = Precision.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.", rich_help_panel=_HOW)] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps.", rich_help_panel=_HOW)] = 500,
    sheet_every: Annotated[
        int,
        typer.Option(
            min=0, help="Steps between reconstruction sheets, which show images; 0: none.", rich_help_panel=_HOW
        ),
    ] = 2000,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between history rows.", rich_help_panel=_HOW)] = 10,
    device: Annotated[Device, typer.Option(help="auto takes a GPU where there is one.", rich_help_panel=_HOW)] = (
        Device.auto
    ),
    devices: Annotated[int, typer.Option(min=1, help="Processes, one a GPU.", rich_help_panel=_HOW)] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="torch threads on a CPU.", rich_help_panel=_HOW)] = None,
    compile_model: Annotated[bool, typer.Option("--compile", help="torch.compile.", rich_help_panel=_HOW)] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's files.", rich_help_panel=_HOW)
    ] = None,
    show_masks: Annotated[
        Path | None,
        typer.Option(help="Only draw spectrum, band-stop bank, masks and results as a PNG.", rich_help_panel=_HOW),
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    cache: CacheFolder = None,
) -> None:
    """Pre-train a USFM encoder on unlabelled images; `run --models usfm:FILE` fine-tunes what it writes."""
    from usfm_bench.specs.pretraining import build_spec

    masking = {
        "patch_size": mask_patch,
        "ratio": mask_ratio,
        "base_bandwidth": bandwidth,
        "growth": growth,
        "max_increase": max_increase,
        "protected": protected,
        "band_ratio": band_ratio,
        "magnitude": magnitude,
        "normalised": mask_normalised,
    }
    spec = build_spec(
        {
            "method": method.value,
            "model": model,
            "datasets": split_names(datasets),
            "all_images": all_images,
            "split_seed": split_seed,
            "image_size": image_size,
            "steps": steps,
            "batch_size": batch_size,
            "accumulate": accumulate,
            "lr": lr,
            "warmup_steps": warmup_steps,
            "weight_decay": weight_decay,
            "precision": precision.value,
            "drop_path": drop_path,
            "lambda_frequency": lambda_frequency,
            "l1_over": l1_over.value,
            "masking": masking,
            "seed": seed,
            "threads": threads,
        },
        "pretrain",
    )
    if show_masks is not None:
        _show_masks(spec, registry, data_root, show_masks)
        return
    if out is None:
        raise BenchError("--out FILE is missing: the weight file to write. --show-masks PNG needs none.")
    how: dict[str, Any] = {"checkpoint_every": checkpoint_every, "sheet_every": sheet_every, "log_every": log_every}
    how |= {"devices": devices, "resume": resume, "compile": compile_model, "tensorboard": tensorboard}
    _pretrain(spec, registry, data_root, out, device.value, how)


def _pretrain(
    spec: PretrainSpec, registry: Path | None, data_root: Path, out: Path, device: str, how: dict[str, Any]
) -> None:
    from usfm_bench.cli.run import require_training

    if out.suffix != ".pth":
        raise BenchError(f"--out {out}: expected a name that ends in .pth.")
    if out.exists():
        raise BenchError(f"--out {out}: is there already. Choose another name, or delete it.")
    typer.echo("Loading torch and images ...", err=True)
    require_training()
    from usfm_bench.cli.progress import PretrainProgress
    from usfm_bench.core.locks import LockHeldError, locked
    from usfm_bench.pretraining.data import load_images
    from usfm_bench.pretraining.loop import Options, pretrain
    from usfm_bench.pretraining.weights import lock_path
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.training.device import resolve_device

    options = Options(out, resolve_device(device), **how)
    images = load_images(spec, load_registry(registry), data_root)
    for name, source in images.sources.items():
        typer.echo(f"{name}: {source['images']} images, {source['side']}", err=True)
    try:
        with locked(lock_path(out)), PretrainProgress(spec.steps) as progress:
            card = pretrain(spec, images, options, progress)
    except LockHeldError:
        raise BenchError(f"--out {out}: another process is writing it. Choose another name, or wait for it.") from None
    except KeyboardInterrupt:
        kept = " --resume continues from the last checkpoint." if options.state.exists() else ""
        typer.echo(f"Interrupted.{kept}", err=True)
        raise typer.Exit(1) from None
    final = card.final
    ratio = "" if final["ratio"] is None else f", frequency to spatial {final['ratio']:.3f}"
    typer.echo(f"Loss {final['loss']:.4f}{ratio}; {card.wall_s:.0f} s.", err=True)
    typer.echo(f"Wrote {out}, with {out.name}.json and {out.stem}.csv beside it.", err=True)
    if options.sheet_every:
        typer.echo(f"{out.stem}.png shows some of the images, masked and reconstructed.", err=True)
    typer.echo(f"Fine-tune it: usfm-bench run --suite demo --models usfm:{out}")


def _show_masks(spec: PretrainSpec, registry: Path | None, data_root: Path, path: Path) -> None:
    from usfm_bench.cli.run import require_training

    require_training()
    import torch

    from usfm_bench.pretraining.data import load_images
    from usfm_bench.pretraining.figures import write_masks
    from usfm_bench.specs.dataset import load_registry

    images = load_images(spec, load_registry(registry), data_root).images
    write_masks(path, spec, torch.from_numpy(images[spec.seed % len(images)]).float() / 255)
    typer.echo(f"Wrote {path}", err=True)
