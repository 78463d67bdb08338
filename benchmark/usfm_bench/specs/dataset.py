"""The data set registry: `datasets.yaml`, one entry a data set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from usfm_bench.core.errors import BenchError, did_you_mean, unknown
from usfm_bench.core.resources import load_yaml, resource
from usfm_bench.core.settings import Settings, later
from usfm_bench.core.validation import in_words, said
from usfm_bench.specs.task import TASKS, Need

GroupKind = Literal["patients", "examinations", "recordings", "videos", "near-duplicates", "images", "simulated"]


class OwnSplit(Settings):
    """A split that belongs to a data set and wins over the one that a suite would draw."""

    kind: Literal["drawn", "file", "random"]
    """`drawn`: by the suite, whatever sides the data set itself prescribes. `file`: a list. `random`: as published
    protocols draw it, stratified by class and blind to groups, so that it may leak."""
    file: str | None = None
    """Of `file`: a CSV with columns case_id and split (train, val, test), relative to the data set's folder."""
    sides: tuple[int, int, int] | None = None
    """Of `random`: number of cases, or proportion, of training, validation and test."""
    seed: int = Field(default=0, ge=0)
    """Of `random`."""

    @model_validator(mode="after")
    def _complete(self) -> OwnSplit:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("kind `file` needs `file`, the other kinds have none")
        if (self.kind == "random") != (self.sides is not None):
            raise ValueError("kind `random` needs `sides`, the other kinds have none")
        if self.sides and (min(self.sides) < 0 or 0 in (self.sides[0], self.sides[2])):
            raise ValueError("sides: training and test need 1 at least, validation 0")
        return self


class Subsample(Settings):
    """Whole groups of one class are left out by lot until the class has this share of all cases."""

    label: str
    prevalence: float = Field(gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class TrainingSubset(Settings):
    """Which part of a split's training side is used. Validation and test stay as they are."""

    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the training cases, by whole groups; a smaller share is a subset of a larger one."""
    prevalence: float | None = Field(default=None, ge=0.05, le=0.5)
    """Share of the positive class among a number of training cases that is the same for every share."""
    lot: Literal["split", "trial"] = later("split")
    """`trial`: each trial's seed draws a lot of its own, so that the spread over seeds holds that of the lots. `split`:
    the split seed drew one for all, as versions before did; intervals are then too narrow (docs/splits.md)."""


def _plain_name(name: str) -> str:
    if not name.strip() or name != name.strip() or not name.isprintable() or set(name) & set("[]@"):
        raise ValueError("is no name of a structure: words without brackets and '@', please")
    return name


StructureName = Annotated[str, AfterValidator(_plain_name)]


class DatasetSpec(Settings):
    """One entry of `datasets.yaml`, with what it extends merged in."""

    name: str
    """Key of the entry; what `--datasets` takes."""
    version: int = Field(ge=1)
    """Raised whenever the entry selects other cases, groups or sides of a drawn split than before."""
    title: str
    """One line for people."""
    tasks: tuple[str, ...]
    """Names of `TASKS` that the data set can be used for; empty: to pre-train on, and for no suite."""
    organ: str
    """Organ or organs shown."""
    layout: str
    """Name of the reader in `data/readers/`."""
    structures: tuple[StructureName, ...] = later((), max_length=16)
    """What masks show, where that is several structures, in the order of channels, rows and colours; `options` say how
    each is told. Empty: one structure."""
    path: str = ""
    """Folder or file, relative to --data-root; empty for simulated data."""
    classes: tuple[str, ...] = ()
    """Class names in label order; cases of other classes are left out."""
    synthetic: bool = False
    """True for simulated images; said in every table that shows them."""
    paper_label: str | None = None
    """Row label in the paper's tables that measured rows stand under, such as `BUSI`."""
    n_images: int | None = None
    """Published number of images of these classes, before `exclude`."""
    n_patients: int | None = None
    """Published number of patients."""
    n_by_class: dict[str, int] = Field(default_factory=dict)
    """Published number of images of each class."""
    probe: str = ""
    """Scanner and probe, as published."""
    image_size: str = ""
    """Width and height in pixels, as published or found."""
    spacing: str = ""
    """Whether and where the pixel spacing is given."""
    exclude: dict[str, str] = Field(default_factory=dict)
    """Case id to the reason why the case is left out."""
    groups: str | None = None
    """File in `data/group_files/` with the groups of near-duplicates, by pixel hash and by case id."""
    grouped_by: GroupKind | None = later(None)
    """What the groups are that no split parts, where the data have something that stands for patients; None: patients.
    Every table says it. Without anything of that kind, groups are near-duplicates or images."""
    groups_note: str = later("")
    """What else to say of the groups."""
    licence: str = "unknown"
    """Terms as the source states them."""
    redistributable: bool | None = None
    """Whether its terms let others pass it on; None: not stated, or stated differently."""
    agreement: str = ""
    """What must be signed, asked for or registered before anyone can have the data; empty: nothing."""
    uncertain: tuple[str, ...] = ()
    """What in this entry could not be confirmed at its source."""
    citation: str = ""
    """How to cite the data set."""
    source: str = ""
    """Where to get it."""
    contains: tuple[str, ...] = later(())
    """Data sets whose images are among its own, so that a model that saw one has seen part of the other."""
    size: str = ""
    """Rough size on disk."""
    checksum: str | None = None
    """sha256 of the published archive, where published."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the reader."""
    relabel: dict[str, str] = later({})
    """Class on disk to the class of `classes` that it counts as, such as `normal: not malignant`. What counts as a
    class of this mapping is on disk only where it is one of its keys too."""
    positive: str | None = later(None)
    """The class that a decision is about; thresholds are chosen and prevalence is counted for it."""
    subsample: Subsample | None = later(None)
    """Cases left out to make a class rare."""
    split: OwnSplit | None = later(None)
    """None: the sides that the data set prescribes, or else the split that a suite draws."""
    training: TrainingSubset | None = later(None)
    """Set by names such as `busi@10%` and `busi-binary@malignant=5%`; see `find_dataset`."""

    @model_validator(mode="after")
    def _known_classes(self) -> DatasetSpec:
        named = {"positive": self.positive, "subsample": self.subsample and self.subsample.label}
        named |= {f"relabel.{old}": new for old, new in self.relabel.items()}
        strange = [f"{field}: '{label}'" for field, label in named.items() if label and label not in self.classes]
        if self.classes and strange:
            raise ValueError(f"{', '.join(strange)} is not one of the classes ({', '.join(self.classes)})")
        return self

    @field_validator("structures")
    @classmethod
    def _several(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))} is there twice")
        if len(names) == 1:
            raise ValueError("names one structure; without the key, masks show one")
        return names

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in TASKS]:
            raise ValueError(f"unknown task '{unknown[0]}'.{did_you_mean(unknown[0], TASKS)} Known: {', '.join(TASKS)}")
        return names

    def needs(self, what: Need) -> bool:
        """Whether one of its tasks needs a mask, or a label, of every case."""
        return any(TASKS[name].needs == what for name in self.tasks)

    @property
    def classes_on_disk(self) -> tuple[str, ...]:
        """What the reader looks for: `classes` before `relabel`."""
        own = (name for name in self.classes if name not in self.relabel.values())
        return (*self.relabel, *own) if self.classes else ()


WORDS = {"title", "path", "paper_label", "n_images", "n_patients", "n_by_class", "probe", "image_size", "spacing"} | {
    *(
        "grouped_by",
        "groups_note",
        "licence",
        "redistributable",
        "agreement",
        "uncertain",
        "citation",
        "source",
        "contains",
        "size",
        "checksum",
    ),
}
"""Fields that tell people about a data set and decide no result."""


def load_registry(extra: Path | None = None) -> dict[str, DatasetSpec]:
    """All data sets: the shipped entries, then those of `datasets.yaml` here, or of the file `extra`.

    An entry of the user's file with a shipped name replaces it. Entries may `extends:` another one.

    Raises:
        BenchError: a file that is not YAML or an entry that does not validate; all faults at once.
    """
    entries: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in _registry_files(extra):
        content = load_yaml(path)
        if not isinstance(content, dict):
            raise BenchError(f"{path}: expected a mapping of data set names to entries")
        entries |= {str(name): (path, {} if entry is None else entry) for name, entry in content.items()}
    specs, faults = {}, []
    for name, (path, _) in entries.items():
        if "@" in name:
            faults.append(f"{path.name}: {name}: a name without '@', please: it stands before parts of a data set")
            continue
        values: dict[str, Any] = {}
        try:
            values = {**_merged(name, entries), "name": name}
            specs[name] = DatasetSpec.model_validate(values)
        except ValidationError as error:
            faults += in_words(error, DatasetSpec, values, f"{path.name}: {name}", ".")
        except BenchError as error:
            faults.append(f"{path.name}: {name}: {error}")
    if faults:
        raise BenchError("\n".join(faults))
    return specs


def find_dataset(name: str, registry: dict[str, DatasetSpec]) -> DatasetSpec:
    """The entry called `name`.

    `NAME@10%` trains on a tenth of the training side; `NAME@malignant=5%` on a training side of which one in twenty is
    malignant, the entry's positive class. Both are tested on the same cases as NAME.

    Raises:
        BenchError: no such entry (the nearest name is suggested), or no such part of it.
    """
    base, at, part = name.partition("@")
    if base not in registry:
        raise unknown("dataset", base, registry, hint="`usfm-bench data list` shows all.")
    return _with_part(registry[base], part) if at else registry[base]


_PART = re.compile(r"(?:(?P<label>.+)=)?(?P<percent>\d+(?:\.\d+)?)%")


def _with_part(spec: DatasetSpec, part: str) -> DatasetSpec:
    match = _PART.fullmatch(part)
    label = match and match["label"]
    if match is None or (label and label != spec.positive):
        known = f"{spec.name}@10%" + (f" or {spec.name}@{spec.positive}=10%" if spec.positive else "")
        raise BenchError(
            f"Unknown part '{part}' of dataset '{spec.name}'. Such names are {known}."
            + ("" if spec.positive or not label else f" Its entry names no `positive` class, '{label}' or another.")
        )
    share = float(match["percent"]) / 100
    try:
        subset = TrainingSubset(**{"prevalence" if label else "fraction": share}, lot="trial")
    except ValidationError as error:
        raise BenchError(f"{spec.name}@{part}: the share {said(error.errors()[0])}.") from None
    shown = f"{label}={100 * share:g}%" if label else f"{100 * share:g}%"
    return spec.model_copy(update={"name": f"{spec.name}@{shown}", "training": subset})


def _registry_files(extra: Path | None) -> list[Path]:
    shipped = resource("datasets.yaml")
    local = extra or Path("datasets.yaml")
    if extra and not extra.is_file():
        raise BenchError(f"Registry file '{extra}' does not exist.")
    return [shipped] if not local.is_file() or local.samefile(shipped) else [shipped, local]


def _merged(name: str, entries: dict[str, tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    chain: list[str] = []
    merged: dict[str, Any] = {}
    parent: str | None = name
    while parent is not None:
        if parent in chain:
            raise BenchError(f"extends itself: {' -> '.join([*chain, parent])}")
        if parent not in entries:
            raise unknown("dataset", parent, entries)
        chain.append(parent)
        entry = entries[parent][1]
        _check_form(entry)
        merged = {**entry, **merged, "options": {**entry.get("options", {}), **merged.get("options", {})}}
        parent = entry.get("extends")
    merged.pop("extends", None)
    return merged


def _check_form(entry: Any) -> None:
    """An entry, or one that it extends, has the form that merging needs; the values are the model's to check."""
    if not isinstance(entry, dict) or not all(isinstance(key, str) for key in entry):
        raise BenchError("expected a mapping of keys to values")
    if "training" in entry:
        raise BenchError("`training` is not for the file: names such as `busi@10%` choose a part of the training side")
    if "name" in entry:
        raise BenchError("the key `name` is not needed: the entry's own key is its name")
    if not isinstance(entry.get("options", {}), dict):
        raise BenchError("options: expected a mapping")
    if not isinstance(entry.get("extends", ""), str):
        raise BenchError("extends: expected the name of one entry")
