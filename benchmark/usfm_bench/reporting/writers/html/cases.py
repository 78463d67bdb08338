"""The case browser's data: for each data set its cases, what each model made of them, and what they look like."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.words import scale_of, unit_sign
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.sample import Image, Mask, Masks
from usfm_bench.metrics.definitions import Definition
from usfm_bench.reporting.figures.group import FigureData, true_class
from usfm_bench.reporting.writers.html.contours import SCALE, jpeg_of, path_of
from usfm_bench.reporting.writers.html.hard import HardList
from usfm_bench.results.frames import ModelResults, counted_scores
from usfm_bench.results.predictions import load_predictions
from usfm_bench.tasks.enhancement import EnhancementPredictions, with_images
from usfm_bench.tasks.segmentation import SegmentationPredictions, with_masks

_CHUNK = 40  # cases in one block of JSON, which is read when one of them is opened
Scores = tuple["Metric", list[NDArray[np.float64]]]


Paths = str | list[str]
"""The path around a mask, or those of each structure."""


class Metric(NamedTuple):
    """A number of a case, shown as `value / 10^digits`."""

    name: str
    unit: str
    factor: int
    digits: int
    better: str


@dataclass(frozen=True)
class Browser:
    """One data set's cases."""

    ident: str
    dataset: str
    synthetic: bool
    n_cases: int
    models: tuple[str, ...]
    head: str
    """JSON for the table and the points."""
    chunks: tuple[str, ...]
    """JSON of some cases each, in the order of the table."""
    notes: tuple[str, ...]
    has_images: bool
    hard: tuple[HardList, ...] = ()
    """Cases to look at first."""


@dataclass
class _Drawn:
    """What a case looks like."""

    height: int = 0
    width: int = 0
    reference: Paths | None = None
    predictions: dict[int, Paths] = field(default_factory=dict)
    """Of the models whose masks were kept."""
    outputs: dict[int, Image] = field(default_factory=dict)
    """Of the models that enhanced the image."""
    target: Image | None = None
    """What it should become."""


def browser_of(group: FigureData, ident: str, links: Mapping[tuple[str, str], str], data_root: Path | None) -> Browser:
    """The browser of one data set.

    Args:
        group: its models.
        ident: of the element.
        links: (data set, model) to the id of the row that says where its numbers come from.
        data_root: where images are looked for; None: contours alone.
    """
    group = replace(group, results=tuple(r.averaged for r in group.results))
    ids = sorted({str(i) for r in group.results for i in r.case_table["case_id"]}, key=_natural)
    images, notes = _images(group, data_root)
    scores = list(_scores(group))
    drawn, lost = _drawn(group)
    models = tuple(r.first.spec.model for r in group.results)
    places = [_places(r, ids) for r in group.results]
    head = {
        "dataset": group.dataset,
        "byClass": not group.task.per_case,
        "scale": SCALE,
        "chunk": _CHUNK,
        "models": models,
        "links": [links[group.dataset, model] for model in models],
        "seeds": [r.seeds for r in group.results],
        "classes": group.results[0].first.classes,
        "structures": group.results[0].structures,
        "metrics": [metric._asdict() for metric, _ in scores],
        "cases": _facts(group, ids),
        "means": [
            [_whole(s.mean(axis=0), m, place) for s, place in zip(each, places, strict=True)] for m, each in scores
        ],
    }
    details = _details(group, ids, places, scores, drawn, images)
    chunks = tuple(_json(details[i : i + _CHUNK]) for i in range(0, len(details), _CHUNK))
    shown = any(name in images for name in ids)
    return Browser(
        *(ident, group.dataset, group.synthetic, len(ids), models, _json(head), chunks, (*notes, *lost), shown)
    )


def _natural(case_id: str) -> list[tuple[int, str]]:
    """`benign (2)` before `benign (10)`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", case_id)]


def _places(results: ModelResults, ids: Sequence[str]) -> NDArray[np.int64]:
    """(cases,) where each case stands in the model's table; -1 where it does not."""
    known = {str(case): i for i, case in enumerate(results.case_table["case_id"])}
    return np.array([known.get(case, -1) for case in ids], np.int64)


def _facts(group: FigureData, ids: Sequence[str]) -> list[list[Any]]:
    """Id, class and lesion size of each case. No group: it may be a patient's number."""
    known: dict[str, list[Any]] = {}
    for r in group.results:
        table = r.case_table
        sizes = table["target_px"].tolist() if "target_px" in table else [None] * len(table)
        for case, label, size in zip(table["case_id"].astype(str), table["class"], sizes, strict=True):
            known.setdefault(case, [case, None if pd.isna(label) else str(label), size and int(size)])
    return [known[case] for case in ids]


def _scores(group: FigureData) -> Iterator[Scores]:
    """Each metric with the (seeds, cases) values of every model."""
    if not group.task.per_case:
        metric = Metric("P(true class)", "%", 1000, 1, "higher")
        yield metric, [true_class(r) for r in group.results]
        return
    single = [f"{group.task.by_case}[{name}]" for name in group.results[0].structures]
    for name in dict.fromkeys((group.task.by_case, *single, *group.task.browsed) if single else group.task.browsed):
        if any(name not in r.definitions for r in group.results):
            continue
        definition = group.results[0].definition(name)
        yield _metric(definition), [counted_scores(r, definition, group.missed).scores for r in group.results]


def _metric(definition: Definition) -> Metric:
    scale, digits = scale_of(definition.unit)
    better = "higher" if definition.higher_is_better else "lower"
    name = f"{definition.name} {definition.structure}" if definition.structure else definition.name
    return Metric(name, unit_sign(definition.unit), scale * 10**digits, digits, better)


def _whole(values: NDArray[np.float64], metric: Metric, place: NDArray[np.int64]) -> list[int | None]:
    """Values of the cases as whole numbers, which are short to write; None where there is none."""
    scaled = np.where(place < 0, np.nan, values[place] * metric.factor)
    unknown = np.isnan(scaled)
    whole = np.rint(np.where(unknown, 0, scaled)).astype(np.int64).astype(object)
    whole[unknown] = None
    found: list[int | None] = whole.tolist()
    return found


def _details(
    group: FigureData,
    ids: Sequence[str],
    places: Sequence[NDArray[np.int64]],
    scores: Sequence[Scores],
    drawn: Mapping[str, _Drawn],
    images: Mapping[str, Image],
) -> list[dict[str, Any]]:
    """Of each case: size, image, paths, and values by model, metric and seed."""
    values = [
        [[_whole(of_seed, metric, places[k]) for of_seed in each[k]] for metric, each in scores]
        for k in range(len(group.results))
    ]
    said = [_said(r, place) for r, place in zip(group.results, places, strict=True)]
    found = []
    for i, case in enumerate(ids):
        look, image = drawn.get(case, _Drawn()), images.get(case)
        height, width = (look.height, look.width) if image is None or look.height else image.shape
        found.append(
            {
                "h": height,
                "w": width,
                "image": None if image is None else jpeg_of(image),
                "reference": look.reference,
                "predictions": [look.predictions.get(k) for k in range(len(group.results))],
                "values": [[[seed[i] for seed in seeds] for seeds in metrics] for metrics in values],
                "said": [[seed[i] for seed in seeds] for seeds in said],
            }
        )
        if image is not None and look.target is not None:  # never without the image: pictures are of patients, too
            outputs = (look.outputs.get(k) for k in range(len(group.results)))
            found[-1]["outputs"] = [None if output is None else jpeg_of(output) for output in outputs]
            found[-1]["target"] = jpeg_of(look.target)
    return found


def _said(results: ModelResults, place: NDArray[np.int64]) -> list[list[int | None]]:
    """(seeds, cases) class that was predicted; nothing in segmentation."""
    if results.task.per_case:
        return []
    predicted = results.probabilities.argmax(axis=2).tolist()
    return [[None if i < 0 else row[i] for i in place.tolist()] for row in predicted]


def _drawn(group: FigureData) -> tuple[dict[str, _Drawn], list[str]]:
    """Contours, or images, of the reference and of each model's first seed, and of whom they were not kept."""
    found: dict[str, _Drawn] = {}
    lost: list[str] = []
    if group.task.needs == "label":
        return found, lost
    what = "contours" if group.task.needs == "mask" else "images"
    for k, results in enumerate(group.results):
        for record, folder in group.trials(results):
            if record.spec.seed != results.seeds[0]:
                continue
            try:
                kept = load_predictions(folder / "predictions.npz")
            except BenchError:
                lost.append(f"No {what} of {record.spec.model}: its predictions.npz is missing or damaged.")
                continue
            if (masks := with_masks(kept)) is not None:
                _add(found, k, masks)
            if (images := with_images(kept)) is not None:
                _add_images(found, k, images)
    return found, list(dict.fromkeys(lost))


def _add(found: dict[str, _Drawn], model: int, kept: SegmentationPredictions) -> None:
    for case, reference, prediction in zip(kept.case_ids, kept.references, kept.predictions, strict=True):
        if case not in found:
            height, width = reference.shape[-2:]
            found[case] = _Drawn(height, width, _paths(reference))
        found[case].predictions.setdefault(model, _paths(prediction))  # of the first repeat that tests it


def _add_images(found: dict[str, _Drawn], model: int, kept: EnhancementPredictions) -> None:
    for case, output, target in zip(kept.case_ids, kept.outputs, kept.targets, strict=True):
        look = found.setdefault(case, _Drawn(target.shape[0], target.shape[1], target=target))
        look.outputs.setdefault(model, output)  # of the first repeat that tests it


def _paths(mask: Mask | Masks) -> Paths:
    return path_of(mask) if mask.ndim == 2 else [path_of(each) for each in mask]


def _images(group: FigureData, data_root: Path | None) -> tuple[dict[str, Image], list[str]]:
    """Images by case, and why there are none. Folders are not named: a page is passed on."""
    if data_root is None:
        return {}, ["Without images, as was asked for."]
    first = group.results[0].first
    try:
        dataset = open_dataset(first.spec.dataset, data_root)
    except BenchError:
        return {}, ["Without images: the data set does not lie under the data root, or cannot be read."]
    if dataset.content_hash != first.data_hash:
        return {}, ["Without images: the data set under the data root is not the one that these trials were made with."]
    return {sample.case.case_id: sample.image for sample in dataset.samples}, []


def _json(value: Any) -> str:
    """JSON that no script element ends at."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
