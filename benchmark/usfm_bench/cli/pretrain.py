"""`usfm-bench pretrain`: an encoder learns from images without labels, by one of the registered methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from usfm_bench.cli.options import DATA_ROOT, CacheFolder, DataRoot, Device, RegistryFile, split_names
from usfm_bench.core.cores import wait_passively
from usfm_bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from usfm_bench.cli.settings import LayeredSettings
    from usfm_bench.pretraining.data import PretrainImages
    from usfm_bench.specs.pretraining import Options, PretrainSpec

EXAMPLES = (
    "All that has no option of its own is a setting: `--set KEY=VALUE`, as often as you like, or a file of them, "
    "`--config FILE.yaml`. Options have their way over the file, and --set over both. `--set help` lists the method's "
    "settings with their defaults. Examples: `usfm-bench pretrain --datasets phantom-unlabelled --model "
    "usfm_micro_patch16_224 --steps 1000 --set all_images=true --set image_size=64 --set masking.patch_size=16 --out "
    "pretrained/mine.pth`, then `usfm-bench run --suite demo --models usfm:pretrained/mine.pth` · `usfm-bench pretrain "
    "--config recipe.yaml --seed 1 --resume --out pretrained/mine.safetensors` · `usfm-bench pretrain --datasets busi "
    "--show-masks masks.png`"
)
LENIENT = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Context settings of the command: what it does not know it explains itself."""
_OPTIONS = ("set", "config", "show_masks", "data_root", "registry")
_WHAT, _HOW = "What to pre-train", "How to run it"
_BEFORE = {"steps": 10_000, "device": "auto"}
_RENAMED = {
    "mask-patch": "masking.patch_size",
    "mask-ratio": "masking.ratio",
    "mask-normalised": "masking.normalised",
    "bandwidth": "masking.base_bandwidth",
    "lambda": "lambda_frequency",
}
"""Options of earlier versions whose settings have other names."""


def pretrain(
    context: typer.Context,
    datasets: Annotated[str | None, typer.Option(help="Data sets to see, as a,b.", rich_help_panel=_WHAT)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Weight file to write, .pth or .safetensors.", rich_help_panel=_WHAT)
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="What is learnt, `usfm` unless told; docs/adding.md lists all.", rich_help_panel=_WHAT),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="timm's name of the encoder; usfm_tiny_patch16_224.", rich_help_panel=_WHAT)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps; 10000 unless told.", rich_help_panel=_WHAT)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, sampling and views; 0 unless told.", rich_help_panel=_WHAT)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings, such as a recipe.", rich_help_panel=_WHAT)
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting, such as masking.ratio=0.5 or lr=3e-4; repeatable. `--set help` lists all.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `data export --pretrain`, instead of --datasets: images are read from it as they are "
            "needed.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint, where there is one.", rich_help_panel=_HOW)
    ] = False,
    device: Annotated[
        Device | None, typer.Option(help="auto, as unless told, takes a GPU where there is one.", rich_help_panel=_HOW)
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Processes, one a GPU; 1 unless told.", rich_help_panel=_HOW)
    ] = None,
    show_masks: Annotated[
        Path | None, typer.Option(help="Only draw what the method masks, as a PNG.", rich_help_panel=_HOW)
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    cache: CacheFolder = None,
) -> None:
    """Pre-train an encoder on unlabelled images; `run --models usfm:FILE` fine-tunes what it writes."""
    from usfm_bench.cli.settings import LayeredSettings, explain_keys
    from usfm_bench.pretraining.launch import joined, together
    from usfm_bench.specs.pretraining import Options, settings_of

    wait_passively()
    settings = LayeredSettings("pretrain", _OPTIONS)
    settings.faults += _unknown_options(context.args)
    settings.add(_BEFORE, lambda key: f"pretrain: {key}")
    if config is not None:
        settings.add_file(config)
    given = {"datasets": datasets, "out": out, "method": method, "model": model, "steps": steps, "seed": seed}
    given |= {"store": store, "resume": resume or None, "device": device and device.value, "devices": devices}
    settings.add_options(given)
    wants_help = "help" in (sets or ())
    settings.add_sets([line for line in sets or () if line != "help"])
    if wants_help:
        typer.echo("\n".join(explain_keys(settings_of(settings.values), Options)))
        return
    with joined():
        store_or_none = together(lambda: _take_store(settings))
        spec, options = together(lambda: _checked(settings, needs_out=show_masks is None))
        source = Source(store_or_none, registry, data_root)
        if show_masks is not None:
            _show_masks(spec, source, show_masks)
        else:
            _pretrain(spec, options, source)


class Source(NamedTuple):
    """Where images come from."""

    store: Path | None
    registry: Path | None
    data_root: Path

    def images(self, spec: PretrainSpec) -> PretrainImages:
        """All that the pre-training sees; raises a BenchError."""
        from usfm_bench.pretraining.data import load_images
        from usfm_bench.pretraining.store import open_store
        from usfm_bench.specs.dataset import load_registry

        if self.store is not None:
            return open_store(self.store)
        return load_images(spec, load_registry(self.registry), self.data_root)


def _take_store(settings: LayeredSettings) -> Path | None:
    """The folder that --store names, or a file; its settings are taken over, and others are faults."""
    store = settings.values.pop("store", None)
    if store is None:
        return None
    from usfm_bench.pretraining.store import read_facts

    folder = Path(str(store))
    for key, has in read_facts(folder).which.model_dump().items():
        said = settings.values.get(key, has)
        said = split_names(said) if key == "datasets" and isinstance(said, str) else said
        if (list(said) if isinstance(said, tuple) else said) != (list(has) if isinstance(has, tuple) else has):
            settings.faults.append(
                f"--store {folder}: has {key} {_plain(has)}, and the settings say {_plain(said)}. Leave {key} out, or "
                "write another store."
            )
        settings.add({key: has}, lambda key: f"--store {folder}: {key}")
    return folder


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _checked(settings: LayeredSettings, *, needs_out: bool) -> tuple[PretrainSpec, Options]:
    """What was asked for; raises a BenchError with every fault."""
    from usfm_bench.specs.pretraining import ForeignSpec, Options, settings_of, unknown_method

    values = settings.values
    if isinstance(values.get("datasets"), str):
        values["datasets"] = split_names(values["datasets"])
    if "datasets" not in values:
        settings.faults.append("--datasets NAME,... is missing: the data sets to see; or --store FOLDER.")
        values["datasets"] = ["?"]
    if "out" not in values:
        if needs_out:
            settings.faults.append("--out FILE is missing: the weight file to write. --show-masks PNG needs none.")
        values["out"] = "unnamed.pth"
    kind = settings_of(values)
    if kind is ForeignSpec:
        settings.faults.append(unknown_method(values["method"]))
    spec, options = settings.build(kind, Options)
    return spec, options


def _unknown_options(words: Sequence[str]) -> list[str]:
    """What is wrong with words that the command does not know: settings that once were options, and typos."""
    if not words:
        return []
    from usfm_bench.core.validation import dotted_fields
    from usfm_bench.specs.method import METHODS
    from usfm_bench.specs.pretraining import Options

    kinds: list[type[BaseModel]] = [*(method.settings for method in METHODS.values()), Options]
    fields = {key: field for kind in kinds for key, field in dotted_fields(kind)}
    keys = {key.rpartition(".")[2].replace("_", "-"): key for key in fields} | _RENAMED
    said, left = [], list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("-"):
            said.append(f"pretrain: unexpected argument '{word}'.")
            continue
        key = keys.get(name.removeprefix("--"))
        is_flag = key is not None and fields[key].annotation is bool
        if not equals:
            value = left.pop(0) if left and not left[0].startswith("--") and not is_flag else "true"
        if key is not None:
            said.append(f"{name} is a setting: write --set {key}={value}")
        else:
            near = did_you_mean(name.lstrip("-"), [*keys.values(), *_OPTIONS])
            said.append(f"pretrain: unknown option '{name}'.{near} `--set help` lists the settings.")
    return said


def _pretrain(spec: PretrainSpec, options: Options, source: Source) -> None:
    from usfm_bench.pretraining.launch import gathered, is_first, together

    first = is_first()
    say = partial(typer.echo, err=True) if first else _nothing
    with ExitStack() as held:
        if gathered(together(lambda: first and _is_finished(spec, options)))[0]:
            say(f"{options.out} was pre-trained by these settings already; nothing is left to do.")
            return
        say("Loading torch and images ...")
        images = together(lambda: _images(spec, source))
        from usfm_bench.cli.progress import PretrainProgress
        from usfm_bench.pretraining.loop import pretrain

        for name, found in images.sources.items():
            say(f"{name}: {found['images']} images, {found['side']}")
        if options.resume and not options.state.exists():
            say(f"--resume: there is no checkpoint {options.state} yet; starting from the beginning.")
        together(lambda: held.enter_context(_locked(options.out)) if first else None)
        try:
            with PretrainProgress(spec.steps) as progress:
                card = pretrain(spec, images, options, progress)
        except KeyboardInterrupt:
            kept = " --resume continues from the last checkpoint." if options.state.exists() else ""
            say(f"Interrupted.{kept}")
            raise typer.Exit(1) from None
    if first:
        _say_written(card.final, card.wall_s, options)


def _nothing(text: str) -> None:
    """Say nothing: the first process speaks."""


def _images(spec: PretrainSpec, source: Source) -> PretrainImages:
    """All that is seen, for this process; raises a BenchError."""
    from usfm_bench.cli.run import require_training
    from usfm_bench.pretraining.launch import launched

    require_training()
    if launched() is not None and source.store is None:
        raise BenchError(
            "torchrun starts several processes, each of which would decode all images: write them once by `usfm-bench "
            "data export NAMES --pretrain --size N --out FOLDER`, and give --store FOLDER."
        )
    return source.images(spec)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    from usfm_bench.core.locks import LockHeldError, locked
    from usfm_bench.pretraining.weights import lock_path

    try:
        with locked(lock_path(out)):
            yield
    except LockHeldError:
        raise BenchError(f"--out {out}: another process is writing it. Choose another name, or wait for it.") from None


def _is_finished(spec: PretrainSpec, options: Options) -> bool:
    """Whether --resume, as job scripts pass it each time, finds the weights that it would make.

    Raises:
        BenchError: other weights are in the way, or --resume was not asked for.
    """
    from usfm_bench.pretraining.card import read_card

    if not options.out.exists():
        return False
    card = read_card(options.out) if options.resume else None
    if card is not None and card.recipe_hash == spec.hash:
        return True
    made = "" if card is None else ", pre-trained by other settings"
    raise BenchError(f"--out {options.out}: is there already{made}. Choose another name, or delete it.")


def _say_written(final: dict[str, Any], wall_s: float, options: Options) -> None:
    from usfm_bench.cli.progress import losses_in_words

    out = options.out
    sheet = out.with_suffix(".png")
    typer.echo(
        f"{losses_in_words(final) or 'No step: the weights that training starts from'}; {wall_s:.0f} s.", err=True
    )
    typer.echo(f"Wrote {out}, with {out.name}.json and {out.stem}.csv beside it.", err=True)
    if options.sheet_every and sheet.exists():
        typer.echo(f"{sheet.name} shows some of the images, and what the network makes of them.", err=True)
    typer.echo(f"Fine-tune it: usfm-bench run --suite demo --models usfm:{out}")


def _show_masks(spec: PretrainSpec, source: Source, path: Path) -> None:
    from usfm_bench.cli.run import require_training

    require_training()
    import numpy as np
    import torch

    from usfm_bench.specs.method import METHODS

    images = source.images(spec).images
    shown = torch.from_numpy(images[np.array([spec.seed % len(images)])][0])
    METHODS[spec.method].draw_masks(spec, shown.float() / 255, path)
    typer.echo(f"Wrote {path}", err=True)
