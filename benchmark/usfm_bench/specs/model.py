"""What a model name means. Imports neither torch nor timm, so that planning and listing are quick."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from usfm_bench.core.errors import WeightsError, WeightsMissingError, unknown
from usfm_bench.core.files import file_sha256
from usfm_bench.core.registry import Registry
from usfm_bench.core.resources import load_yaml, resource
from usfm_bench.specs.task import TASKS

SIZES = ("base", "small", "tiny", "micro")


@dataclass(frozen=True)
class ModelEntry:
    """A model that `--models` can name."""

    name: str
    family: Literal["usfm", "timm", "unet"]
    architecture: str
    """timm's name of the backbone, or smp's of the encoder."""
    title: str
    gives: tuple[Literal["maps", "vector"], ...] = ("maps", "vector")
    """What a task can build on: feature maps, and one vector an image."""
    weights: Literal["file", "hub", "scratch"] = "scratch"
    """`file`: a file under pretrained/ or given by path. `hub`: timm's or smp's ImageNet weights."""
    weight_file: Path | None = None
    source: str = ""
    links: tuple[str, ...] = ()
    """Where to download the file."""
    sha256: str | None = None
    """Of the published file; None: not known, or the file is the user's own."""
    licence: str = ""
    size: str = ""
    """Of the file, in words."""
    trained_on: str = ""
    seen_in_pretraining: bool | None = False
    """Whether the weights saw the benchmark's test images; None: unknown."""
    recipe: str | None = None
    """Pre-training recipe in pretrained/registry.yaml that makes the weights where they are missing."""
    frozen: bool = False
    """The encoder keeps its weights; decoder or head alone are trained."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of `TASKS` that it can be used for."""
        return tuple(name for name, task in TASKS.items() if task.wants in self.gives)


MODELS: Registry[ModelEntry] = Registry("model", hint="`usfm-bench models list` shows all.")


def _register(entry: ModelEntry) -> None:
    MODELS.register(entry.name)(entry)


def pretrained_folder() -> Path:
    """Where weight files lie: `pretrained/` here, or USFM_BENCH_PRETRAINED."""
    return Path(os.environ.get("USFM_BENCH_PRETRAINED", "pretrained"))


def _register_usfm() -> None:
    files = load_yaml(resource("pretrained/registry.yaml"))
    for size in SIZES:
        short = "usfm" if size == "base" else f"usfm-{size}"
        architecture = f"usfm_{size}_patch16_224"
        _register(ModelEntry(f"{short}-scratch", "usfm", architecture, f"USFM encoder ({size}), random weights"))
        facts: dict[str, Any] = files.get(short, {})
        _register(
            ModelEntry(
                short,
                "usfm",
                architecture,
                f"USFM encoder ({size}), {facts.get('title', 'pre-trained')}",
                weights="file",
                weight_file=pretrained_folder() / facts.get("file", f"usfm_{size}.pth"),
                source=facts.get("source", f"no weights of this size are published; `{short}-scratch` needs none"),
                links=tuple(facts.get("links", ())),
                sha256=facts.get("sha256"),
                recipe=short if "recipe" in facts else None,
                licence=facts.get("licence", "yours"),
                size=facts.get("size", ""),
                trained_on=facts.get("trained_on", ""),
                seen_in_pretraining=facts.get("seen_in_pretraining"),
            )
        )


_register_usfm()
_UNET = {"family": "unet", "architecture": "resnet18", "gives": ("maps",)}
_register(ModelEntry("unet-resnet18-scratch", title="U-Net, ResNet-18 encoder, random weights", **_UNET))  # type: ignore[arg-type]
_register(
    ModelEntry("unet-resnet18-imagenet", title="U-Net, ResNet-18 encoder from ImageNet", weights="hub", **_UNET)  # type: ignore[arg-type]
)


def resolve(name: str) -> ModelEntry:
    """The entry of a model name: a registered one, `usfm:PATH`, `timm:NAME` or `timm:NAME@scratch`.

    With `@frozen` behind a name of USFM's family, its encoder is not trained.

    Raises:
        BenchError: no such model; the nearest is suggested.
    """
    bare, frozen, _ = name.partition("@frozen")
    if frozen and bare + frozen == name:
        entry = resolve(bare)
        if entry.family != "usfm":
            raise unknown("model", name, [*MODELS, "usfm@frozen"], hint="@frozen is for USFM's family.")
        return replace(entry, name=name, title=f"{entry.title}, frozen", frozen=True)
    kind, colon, rest = name.partition(":")
    if colon and kind == "usfm" and rest:
        path = Path(rest)
        return ModelEntry(
            name,
            "usfm",
            "",
            f"USFM format, {path.name}",
            weights="file",
            weight_file=path,
            source="given by path",
            licence="yours",
            seen_in_pretraining=None,
        )
    if colon and kind == "timm" and rest:
        architecture, at, suffix = rest.partition("@")
        if at and suffix != "scratch":
            raise unknown("model", name, [f"timm:{architecture}@scratch"])
        _check_timm(architecture)
        if at:
            return ModelEntry(name, "timm", architecture, f"timm's {architecture}, random weights")
        return ModelEntry(
            name,
            "timm",
            architecture,
            f"timm's {architecture}, its pre-trained weights",
            weights="hub",
            source="the hub that timm names",
        )
    return MODELS[name]


def weight_file(entry: ModelEntry) -> Path:
    """The entry's weight file.

    Raises:
        WeightsMissingError: it is not there; says where it comes from, its licence and the path expected.
    """
    path = entry.weight_file
    if path is None:
        raise WeightsError(f"'{entry.name}' stands for no weight file; `usfm-bench models list` shows which names do.")
    if not path.is_file():
        links = f" Links: {', '.join(entry.links)}." if entry.links else ""
        raise WeightsMissingError(
            f"'{entry.name}' needs the file '{path}'. Source: {entry.source}.{links} Licence: {entry.licence}."
        )
    return path


def checked_weight_file(entry: ModelEntry, *, allow_hash: bool = False) -> Path:
    """The entry's weight file, whose sha256 is the registry's where that states one.

    Raises:
        WeightsMissingError: it is not there.
        WeightsError: it is another file, and `allow_hash` does not say to go on.
    """
    path = weight_file(entry)
    if not allow_hash and not has_registered_hash(entry):
        raise WeightsError(
            f"{path}: sha256 is {file_sha256(path)}, the registry says {entry.sha256}. So it is not the file that "
            f"'{entry.name}' stands for. Delete it and download it again from where `usfm-bench models show "
            f"{entry.name.partition('@')[0]}` says; or use it as usfm:{path}; or go on with --allow-hash (in Python "
            "allow_hash=True), which marks the results."
        )
    return path


def has_registered_hash(entry: ModelEntry) -> bool:
    """Whether the entry's weight file, which is there, is the one that the registry states; True where it states none.

    Raises:
        WeightsMissingError: it is not there.
    """
    return entry.sha256 is None or file_sha256(weight_file(entry)) == entry.sha256


def _check_timm(architecture: str) -> None:
    try:
        import timm
    except ModuleNotFoundError:
        return  # an install for reporting: names of finished trials need no check
    base = architecture.split(".")[0]
    if not timm.is_model(base):
        raise unknown("timm model", architecture, timm.list_models(), hint="`timm.list_models()` shows all.")
    if architecture != base and not timm.is_model_pretrained(architecture):
        raise unknown("weights of timm", architecture, timm.list_pretrained(f"{base}.*"))
