"""The files that give models names: `pretrained/registry.yaml`, and a user's `models.yaml`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from usfm_bench.core.errors import BenchError, did_you_mean
from usfm_bench.core.resources import load_yaml, resource
from usfm_bench.core.settings import Settings
from usfm_bench.core.validation import in_words
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.pretraining import recipe_faults

Channels = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]
_OF_FILES = ("file", "links", "size", "sha256", "recipe")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class NamedModel(Settings):
    """An entry of the registry of models."""

    family: str
    """A name of `FAMILIES`: how the file is read and the model built."""
    architecture: str = ""
    """timm's name, or smp's of an encoder. May be left out where the family reads it from the file."""
    weights: Literal["file", "hub", "scratch"] = "file"
    """`file`: those of `file`. `hub`: those that timm or smp downloads. `scratch`: random."""
    file: Path | None = None
    """Relative to the folder of weights, `pretrained/` or USFM_BENCH_PRETRAINED."""
    title: str = ""
    """In lists."""
    source: str = ""
    """Where the file comes from."""
    links: tuple[str, ...] = ()
    """Where to download it."""
    licence: str = ""
    size: str = ""
    """Of the file, in words."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file; another file is refused."""
    trained_on: str = ""
    seen_in_pretraining: bool | None = None
    """Whether the weights saw images of data sets that `saw` does not name; None: unknown of a file, no of others."""
    saw: dict[str, bool | None] = Field(default_factory=dict)
    """Data set, or collection of `specs/collections.yaml`, to whether the weights saw its images;
    None: unknown."""
    saw_source: str = ""
    """Where that is stated."""
    adapted_from: str = ""
    """Model whose training counts too."""
    mean: Channels | None = None
    """That images in [0, 1] are normalised with; None: the family's."""
    std: tuple[Positive, Positive, Positive] | None = None
    """The same."""
    unsettled: str = ""
    """Why its file cannot be read yet; empty: it can."""
    recipe: dict[str, Any] | None = None
    """Pre-training by which `run` makes the file where it is missing."""


def named_models() -> tuple[dict[str, NamedModel], dict[str, NamedModel]]:
    """Entries by name: the shipped ones, and the user's, which replace those of the same name.

    The user's are those of `models.yaml` in this folder, or of the file that USFM_BENCH_MODELS names.

    Raises:
        BenchError: a file that is not YAML, or entries that do not validate; all faults at once.
    """
    shipped = resource("pretrained/registry.yaml")
    found, faults = [], []
    for path in (shipped, own_models()):
        try:
            found.append(_read(path, path.stat().st_mtime_ns, path.stat().st_size) if path else {})
        except BenchError as error:
            faults.append(str(error))
    if faults:
        raise BenchError("\n".join(faults))
    return found[0], found[1]


def own_models() -> Path | None:
    """The user's file of models; None where there is none."""
    named = os.environ.get("USFM_BENCH_MODELS")
    path = Path(named or "models.yaml").absolute()
    if named and not path.is_file():
        raise BenchError(f"USFM_BENCH_MODELS names '{named}', and there is no such file.")
    return path if path.is_file() else None


@cache
def _read(path: Path, *_state: int) -> dict[str, NamedModel]:
    """Content of one file; an unchanged one is read once in a process."""
    content = load_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BenchError(f"{path}: expected a mapping of model names to entries")
    entries: dict[str, NamedModel] = {}
    faults: list[str] = []
    for name, values in content.items():
        where = f"{path.name}: {name}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            faults.append(f"{where}: a name is of letters, digits, '.', '_' and '-', and begins with a letter or digit")
        elif not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            faults.append(f"{where}: expected a mapping of keys to values")
        else:
            faults += _validated(name, values, where, entries)
    if faults:
        raise BenchError("\n".join(faults))
    return entries


def _validated(name: str, values: dict[str, Any], where: str, entries: dict[str, NamedModel]) -> list[str]:
    """Enter one entry; its faults, each with `where` in front."""
    faults = [f"{where}.{fault}" for fault in _together(values)]
    try:
        entries[name] = NamedModel.model_validate(values)
    except ValidationError as error:
        faults = in_words(error, NamedModel, values, where, ".") + faults
    if isinstance(recipe := values.get("recipe"), dict):
        faults += recipe_faults(recipe, f"{where}.recipe", ".")
    return faults


def _together(values: dict[str, Any]) -> Iterator[str]:
    """What of an entry, be its single values right or wrong, does not go together."""
    name, architecture, weights = (values.get(key) for key in ("family", "architecture", "weights"))
    if not isinstance(name, str):
        return  # told with the single values
    if name not in FAMILIES:
        yield f"family: unknown model family '{name}'.{did_you_mean(name, FAMILIES)} Known: {', '.join(FAMILIES)}"
        return
    family = FAMILIES[name]
    if weights in (None, "file"):
        if not family.reads_files:
            yield f"weights: family '{name}' has no weight files; expected `weights: hub` or `weights: scratch`"
        elif not values.get("file"):
            yield "file: is missing; or state `weights: hub` or `weights: scratch`"
    else:
        yield from (f"{key}: is for models with a weight file" for key in _OF_FILES if values.get(key) is not None)
    if not architecture and (family.needs_architecture or weights in ("hub", "scratch")):
        yield "architecture: is missing"
    if architecture and isinstance(architecture, str):
        recipe = values.get("recipe")
        if isinstance(recipe, dict) and recipe.get("model", architecture) != architecture:
            yield f"recipe.model: is '{recipe['model']}', and `architecture` is '{architecture}'"
        try:
            family.check_architecture(architecture)
        except BenchError as error:
            yield f"architecture: {error}"
