"""What a model name means. Imports neither torch nor timm, so that planning and listing are quick."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from usfm_bench.core.errors import BenchError, WeightsError, WeightsMissingError, unknown
from usfm_bench.core.files import file_sha256
from usfm_bench.core.registry import Registry
from usfm_bench.specs.family import FAMILIES, Family, Gives
from usfm_bench.specs.model_files import NamedModel, named_models
from usfm_bench.specs.pretraining import PretrainSpec, build_spec

Adaptation = Literal["full", "frozen", "linear", "knn", "lora"]
ADAPTATIONS: tuple[Adaptation, ...] = get_args(Adaptation)
"""What may stand behind the last @ of a model name."""


@dataclass(frozen=True)
class ModelEntry:
    """A model that `--models` can name."""

    name: str
    family: str
    """A name of `FAMILIES`."""
    architecture: str
    """timm's name of the backbone, or smp's of the encoder; empty: read from the file."""
    title: str
    gives: tuple[Gives, ...] = ("maps", "vector")
    """What a task can build on: feature maps, and one vector an image."""
    weights: Literal["file", "hub", "scratch"] = "scratch"
    """`file`: a file under pretrained/ or given by path. `hub`: timm's or smp's weights."""
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
    """Whether the weights saw images of data sets that `saw` does not name; None: unknown."""
    saw: Mapping[str, bool | None] = field(default_factory=dict, hash=False)
    """Data set or collection -> whether the weights saw its images, None: unknown; `specs.seen` closes it."""
    saw_source: str = ""
    """Where that is stated."""
    adapted_from: str = ""
    """Model whose training counts too."""
    mean: Sequence[float] | None = None
    """That images in [0, 1] are normalised with; None: the family's, or the hub's."""
    std: Sequence[float] | None = None
    """The same."""
    unsettled: str = ""
    """Why its file cannot be read yet; empty: it can."""
    recipe: str | None = None
    """Entry of the registry with the pre-training that makes the weights where they are missing."""
    adaptation: Adaptation = "full"
    """What is trained: everything, with `frozen` the decoder or head alone, with `lora` also maps of low rank beside
    the encoder's attention, with `linear` a linear map of the features, and with `knn` nothing: the nearest training
    images vote."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of `TASKS` that it can be used for; neighbours vote for a class and draw no masks."""
        from usfm_bench.specs.task import TASKS  # with numpy, which a list of names can do without

        gives = ("vector",) if self.adaptation == "knn" else self.gives
        return tuple(name for name, task in TASKS.items() if task.takes(gives) and task.takes(self.gives))

    @property
    def frozen(self) -> bool:
        """The encoder keeps its weights; what stands on it is trained, and with `lora` what stands beside them."""
        return self.adaptation != "full"


class Models(Registry[ModelEntry]):
    """The named models: those of the shipped registry, those of plug-ins, and the user's, of which the last counts."""

    _known: tuple[Any, dict[str, ModelEntry]] | None = None

    def _all(self) -> dict[str, ModelEntry]:
        parts, plugged, folder = named_models(), super()._all(), pretrained_folder()
        if self._known is None or self._known[0] != (parts, plugged, folder):
            shipped, own = ({name: _entry(name, m) for name, m in part.items()} for part in parts)
            self._known = (parts, dict(plugged), folder), shipped | plugged | own
        return self._known[1]


MODELS = Models("model", hint="`usfm-bench models list` shows all.")


def pretrained_folder() -> Path:
    """Where weight files lie: `pretrained/` here, or USFM_BENCH_PRETRAINED."""
    return Path(os.environ.get("USFM_BENCH_PRETRAINED", "pretrained"))


def _entry(name: str, named: NamedModel) -> ModelEntry:
    family, is_file = FAMILIES[named.family], named.weights == "file"
    words = {"file": "weights of its own", "hub": "its pre-trained weights", "scratch": "random weights"}
    seen = named.seen_in_pretraining
    return ModelEntry(
        name,
        named.family,
        named.architecture,
        named.title or f"{family.title}, {words[named.weights]}",
        gives=family.gives,
        weights=named.weights,
        weight_file=pretrained_folder() / named.file if named.file else None,
        source=named.source or ("not stated" if is_file else ""),
        links=named.links,
        sha256=named.sha256,
        licence=named.licence or family.licence or ("not stated" if is_file else ""),
        size=named.size,
        trained_on=named.trained_on or ("" if named.weights == "scratch" else family.trained_on),
        seen_in_pretraining=seen if is_file else bool(seen),
        saw=named.saw,
        saw_source=named.saw_source,
        adapted_from=named.adapted_from,
        unsettled=named.unsettled,
        mean=named.mean,
        std=named.std,
        recipe=name if named.recipe else None,
    )


def file_entry(family: Family, name: str, path: Path) -> ModelEntry:
    """The entry of a weight file that is named by its path.

    Raises:
        BenchError: the path is that of a file with an adaptation behind it that does not exist.
    """
    before, at, suffix = str(path).rpartition("@")
    if at and not path.is_file() and Path(before).is_file():
        raise _unknown_adaptation(suffix, f"{family.name}:{before}")
    return ModelEntry(
        name,
        family.name,
        "",
        f"{family.title}, {path.name}",
        gives=family.gives,
        weights="file",
        weight_file=path,
        source="given by path",
        licence="yours",
        seen_in_pretraining=None,
    )


def load_recipe(name: str) -> PretrainSpec:
    """The pre-training that the registry of models states for a name.

    Raises:
        BenchError: no such model, or it has none.
    """
    shipped, own = named_models()
    named = (shipped | own).get(name)
    if named is None or named.recipe is None:
        raise BenchError(f"The registry of models states no `recipe` for '{name}'.")
    return build_spec(named.recipe, name)


def resolve(name: str) -> ModelEntry:
    """The entry of a model name: one of the registry, or `FAMILY:...` such as `timm:NAME@scratch`.

    Behind it may stand how it is adapted to a task: `@full`, which is the default, `@frozen`, `@linear`,
    `@knn` or `@lora`.

    Raises:
        BenchError: no such model, or no such adaptation; the nearest is suggested.
    """
    bare, _, suffix = name.rpartition("@")
    if not bare or suffix not in ADAPTATIONS:
        return _resolved(name)
    if bare.rpartition("@")[2] in ADAPTATIONS:
        raise BenchError(f"Model '{name}' names two adaptations; keep one of them.")
    entry = _resolved(bare)
    if suffix == "full":
        return entry
    adaptation = next(known for known in ADAPTATIONS if known == suffix)
    return replace(entry, name=name, title=f"{entry.title}, {suffix}", adaptation=adaptation)


def _resolved(name: str) -> ModelEntry:
    """The entry of a name without an adaptation."""
    family, _, rest = name.partition(":")
    if rest and family in FAMILIES:
        return FAMILIES[family].entry(name, rest)
    bare, _, suffix = name.rpartition("@")
    if bare in MODELS:
        raise _unknown_adaptation(suffix, bare)
    if rest:
        raise unknown("model", name, [*MODELS, *(f"{known}:{rest}" for known in FAMILIES)], hint=MODELS.hint)
    return MODELS[name]


def _unknown_adaptation(suffix: str, model: str) -> BenchError:
    return unknown("adaptation", suffix, ADAPTATIONS, hint=f"Of '{model}' there are: {', '.join(ADAPTATIONS)}.")


def weight_file(entry: ModelEntry) -> Path:
    """The entry's weight file.

    Raises:
        WeightsMissingError: it is not there; says where it comes from, its licence and the path expected.
    """
    path = entry.weight_file
    if path is None:
        raise WeightsError(f"'{entry.name}' stands for no weight file; `usfm-bench models list` shows which names do.")
    if entry.unsettled:
        raise WeightsMissingError(f"'{entry.name}' cannot be loaded yet: {entry.unsettled}. Source: {entry.source}.")
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
            f"{entry.name.partition('@')[0]}` says; or use it as {entry.family}:{path}; or go on with --allow-hash "
            "(in Python allow_hash=True), which marks the results."
        )
    return path


def has_registered_hash(entry: ModelEntry) -> bool:
    """Whether the entry's weight file, which is there, is the one that the registry states; True where it states none.

    Raises:
        WeightsMissingError: it is not there.
    """
    return entry.sha256 is None or file_sha256(weight_file(entry)) == entry.sha256
