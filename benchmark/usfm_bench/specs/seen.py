"""Which models saw which data sets in training, as their makers say it, closed over what contains what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from usfm_bench.core.resources import load_yaml
from usfm_bench.specs.dataset import DatasetSpec, load_registry
from usfm_bench.specs.model import MODELS, ModelEntry

_COLLECTIONS = Path(__file__).parent / "collections.yaml"


VERDICTS = {True: "yes", False: "no", None: "unknown"}


class Seen(NamedTuple):
    """Whether a model's weights saw images of a data set."""

    verdict: bool | None
    """None: unknown."""
    why: str
    """In words, with the source where there is one."""


def seen_by(entry: ModelEntry, dataset: DatasetSpec, registry: Mapping[str, DatasetSpec] | None = None) -> Seen:
    """What is known of a model and a data set, by names alone; a card of the weights knows it by images.

    A data set was seen if what was trained on holds it, or images of it are the same files under another name; and if
    the model was adapted from one that saw it. It was not seen if the makers say so of it or of what holds it.

    Args:
        entry: of the model.
        dataset: tested on.
        registry: of the data sets, for those of the same files; None: the registry as it lies here.
    """
    registry = registry or load_registry()
    own = found = _one(entry, dataset, registry)
    known = {entry.name}
    while entry.adapted_from in MODELS and entry.adapted_from not in known:
        entry = MODELS[entry.adapted_from]
        known.add(entry.name)
        before = _one(entry, dataset, registry)
        # One training that saw it is enough, and one that is unknown leaves it open.
        if before.verdict or (before.verdict is None and found.verdict is False):
            found = before._replace(why=f"adapted from {entry.name}: {before.why}")
    return own if own.verdict else found


def _one(entry: ModelEntry, dataset: DatasetSpec, registry: Mapping[str, DatasetSpec]) -> Seen:
    """Of the model's own training."""
    if entry.weights == "scratch":
        return Seen(False, "random weights")
    same = {dataset.name.partition("@")[0], *_same_files(dataset, registry)}
    images = _parts({*same, *dataset.contains}, registry)
    source = f" ({entry.saw_source})" if entry.saw_source else ""
    for verdict, says in ((True, "trained on"), (None, "not known whether trained on"), (False, "not trained on")):
        for name in [name for name, saw in entry.saw.items() if saw is verdict]:
            # Of a collection that holds one that was not seen, another part may have been.
            if common := sorted(_parts({name}, registry) & (same if verdict is False else images)):
                holds = "" if name in images else f", which holds {common[0]}"
                return Seen(verdict, f"{says} {name}{holds}{source}")
    return Seen(entry.seen_in_pretraining, f"{entry.trained_on or 'what it was trained on is not known here'}{source}")


def _same_files(dataset: DatasetSpec, registry: Mapping[str, DatasetSpec]) -> set[str]:
    """Entries over the same folder, such as `busi` of `busi-lesion`."""
    return {name for name, other in registry.items() if dataset.path and other.path == dataset.path}


def _parts(names: set[str], registry: Mapping[str, DatasetSpec]) -> set[str]:
    """The names and all that is contained in them."""
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo |= set(collections().get(name, ()))
            if name in registry:
                todo |= {*registry[name].contains, *_same_files(registry[name], registry)}
    return found


@cache
def collections() -> dict[str, tuple[str, ...]]:
    """Published collections that are no data set here -> what is known to be in them."""
    return {name: tuple(entry["contains"]) for name, entry in load_yaml(_COLLECTIONS).items()}


def image_sets(registry: Mapping[str, DatasetSpec]) -> list[DatasetSpec]:
    """The real data sets, one entry for those of the same files."""
    first: dict[str, DatasetSpec] = {}
    for spec in registry.values():
        if not spec.synthetic:
            first.setdefault(spec.path or spec.name, spec)
    return list(first.values())


def in_groups(entry: ModelEntry, registry: Mapping[str, DatasetSpec]) -> dict[str, list[str]]:
    """What is said of the real data sets -> their names, those that were seen first."""
    found: dict[Seen, list[str]] = {}
    for spec in image_sets(registry):
        found.setdefault(seen_by(entry, spec, registry), []).append(spec.name)
    order = sorted(found, key=lambda seen: [True, None, False].index(seen.verdict))
    return {f"{VERDICTS[seen.verdict]}, {seen.why}": found[seen] for seen in order}
