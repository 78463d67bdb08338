"""Weight files and names -> models without a head. What a file's family is, its own tensors' names say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from usfm_bench.core.errors import WeightsError, WeightsMissingError, listed
from usfm_bench.models.checkpoint import read_tensors
from usfm_bench.specs.family import FAMILIES, Asked, Backbone, Family
from usfm_bench.specs.model import ModelEntry, checked_weight_file, resolve
from usfm_bench.specs.training import Reading


def load_backbone(
    path: str | Path,
    *,
    image_size: int | None = None,
    reading: Reading | None = None,
    legacy_transpose: bool = False,
    drop_path: float = 0.0,
    allow_hash: bool = False,
) -> Any:
    """A model without a head and with the weights of a file; its architecture is read from the file's own shapes.

    Args:
        path: a `.pth` or `.safetensors` file of any family, `FAMILY:PATH`, or a name of the registry such as `usfm`. Of
            USFM, the published names are read, those of transformers' BeitModel, and those of fine-tuned files.
        image_size: side of the input in pixels; the file's own grid when None. Position tables are resized with timm.
        reading: how `norm` is used, of a file of USFM that has it. `published` (the default): dropped; the mean of
            patch tokens passes a new `fc_norm` of weight 1 and bias 0. `own-norm`: every token passes `norm`, then
            patches are averaged. `renamed`: the mean of patch tokens passes `norm`. Outputs of blocks are the same in
            all.
        legacy_transpose: resize the tables as USFM's published code does, with their axes swapped.
        drop_path: stochastic depth of the last block.
        allow_hash: load a registered name from a file with another sha256 than the registry's.

    Raises:
        WeightsMissingError: no such file.
        WeightsError: not a checkpoint; another hash; keys are missing, unexpected, twice, or of another shape or kind;
            numbers that are not finite; a `reading` where the file leaves no choice. Names the keys.
    """
    asked = Asked(image_size, drop_path, reading, legacy_transpose=legacy_transpose)
    entry = find_entry(path)
    if entry.weights != "file":
        raise WeightsError(f"'{entry.name}' stands for no weight file; `usfm-bench models list` shows which names do.")
    return load(entry, asked, allow_hash=allow_hash).model


def load(entry: ModelEntry, asked: Asked, *, allow_hash: bool = False) -> Backbone:
    """The model of an entry, without a head; the hash of its weight file is checked first.

    Raises:
        WeightsMissingError: the weights cannot be had.
        WeightsError: they do not fit, or are not those of the registry.
    """
    if asked.shape is None:
        check_weights(entry, allow_hash=allow_hash)
    return FAMILIES[entry.family].backbone(entry, asked)


def check_weights(entry: ModelEntry, *, allow_hash: bool = False) -> None:
    """Raise a WeightsError unless the entry's weight file, if it has one, is there and the one that it states."""
    if entry.weights == "file":
        checked_weight_file(entry, allow_hash=allow_hash)


def find_entry(path_or_name: str | Path) -> ModelEntry:
    """The entry of a weight file's path, or of a model name.

    Raises:
        BenchError: neither; the nearest name is suggested.
    """
    path, name = Path(path_or_name), str(path_or_name)
    looks_like_path = path.suffix in {".pth", ".pt", ".safetensors"} or len(path.parts) > 1
    if isinstance(path_or_name, Path) or path.is_file() or (looks_like_path and ":" not in name):
        return resolve(f"{file_family(path).name}:{name}")
    return resolve(name)


def inspect_checkpoint(path: Path) -> dict[str, Any]:
    """What a file holds: its family, its architecture, parameters, keys that are no part of the encoder.

    Raises:
        WeightsError: it does not cover the encoder; names the keys.
    """
    family = file_family(path)
    return {"family": family.name, **family.inspect(path)}


def file_family(path: Path) -> Family:
    """The family of a weight file, by the names of its tensors.

    Raises:
        WeightsMissingError: no such file.
        WeightsError: several families could have such names, or several exist and none has.
    """
    families = [family for family in FAMILIES.values() if family.reads_files and not family.needs_architecture]
    if not path.exists():
        raise WeightsMissingError(f"{path}: no such file.")
    names = list(read_tensors(path))
    found = [family for family in families if family.recognises(names)]
    if len(found) == 1:
        return found[0]
    what = "several families" if found else "no family"
    known = listed([family.name for family in found or families], most=len(families))
    raise WeightsError(
        f"{path}: its tensors have the names of {what} of models. Say which it is: FAMILY:{path}, of {known}."
    )
