"""Which cases a suite tests and what their references are, as digests: a verifier needs no image to check them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from usfm_bench.core.errors import BenchError
from usfm_bench.core.file_names import encode_name
from usfm_bench.core.files import write_text
from usfm_bench.core.settings import Settings, content_hash
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.splits import split_folds, split_hash
from usfm_bench.results.record import Record
from usfm_bench.results.store import read_json
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.task import TASKS, Predictions

FOLDER = "manifests"


class Fold(Settings):
    """The test side of one fold."""

    split_hash: str
    """As records have it, of all three sides; empty where seeds draw training sides of their own."""
    cases: dict[str, tuple[str, str, str]]
    """Digest of a case's id -> class, digest of its group's least id, digest of its reference."""


class Manifest(Settings):
    """Of one data set, task and split."""

    dataset: str
    version: int
    task: str
    split: SplitSpec
    data_hash: str
    folds: tuple[Fold, ...]


def manifest_of(dataset: Dataset, task: str, split: SplitSpec) -> Manifest:
    """Drawn from the data themselves.

    Args:
        dataset: whole.
        task: a name of `TASKS` that needs masks or labels.
        split: of the suite.
    """
    by_seed = dataset.spec.training is not None and dataset.spec.training.lot == "trial"
    folds = []
    for sides in split_folds(dataset, split, task=task):
        test = dataset.subset(sides.test)
        ids = [sample.case.case_id for sample in test.samples]
        references = [
            _mask_digest(sample.mask, sample.spacing) if TASKS[task].needs == "mask" else str(label)
            for sample, label in zip(test.samples, test.labels.tolist(), strict=True)
        ]
        labels = [sample.case.label or "" for sample in test.samples]
        hashed = "" if by_seed else split_hash(dataset, sides)
        folds.append(Fold(split_hash=hashed, cases=_cases(ids, labels, test.groups, references)))
    spec = dataset.spec
    return Manifest(
        dataset=spec.name,
        version=spec.version,
        task=task,
        split=split,
        data_hash=dataset.content_hash,
        folds=tuple(folds),
    )


def _cases(
    ids: Sequence[str], labels: Sequence[str], groups: Sequence[str], references: Sequence[str]
) -> dict[str, tuple[str, str, str]]:
    least: dict[str, str] = {}
    for case_id, group in sorted(zip(ids, groups, strict=True)):
        least.setdefault(group, case_id)
    return {
        digest(i): (label, digest(least[group]), reference)
        for i, label, group, reference in sorted(zip(ids, labels, groups, references, strict=True))
    }


def digest(name: str) -> str:
    """Sixteen hex digits for a name; a name that is a digest already stands for itself."""
    return name[1:] if is_digest(name) else hashlib.sha256(name.encode()).hexdigest()[:16]


def hidden(name: str) -> str:
    """A private name as a submission holds it."""
    return f"#{digest(name)}"


def is_digest(name: str) -> bool:
    """Whether `hidden` wrote it."""
    return len(name) == 17 and name[0] == "#" and set(name[1:]) <= set("0123456789abcdef")


def _mask_digest(mask: Any, spacing: Any) -> str:
    bits = np.asarray(mask).astype(bool)
    seen = [list(bits.shape), np.packbits(bits).tobytes().hex(), None if spacing is None else list(map(float, spacing))]
    return content_hash(seen)[:16]


def tested(predictions: Predictions, cases: pd.DataFrame) -> dict[str, tuple[str, str, str]]:
    """The same of a trial's predictions and its table of cases."""
    who = cases.set_index("case_id").loc[list(predictions.case_ids)]
    found: Any = predictions
    if hasattr(found, "references"):
        references = [_mask_digest(*of_case) for of_case in zip(found.references, found.spacings, strict=True)]
    else:
        references = [str(label) for label in found.labels.tolist()]
    labels = ["" if pd.isna(label) else str(label) for label in who["class"]]
    return _cases(list(predictions.case_ids), labels, who["group_id"].astype(str).tolist(), references)


def manifest_faults(manifest: Manifest, record: Record, predictions: Predictions, cases: pd.DataFrame) -> list[str]:
    """What of a trial's test cases is not as the manifest says."""
    spec, faults = record.spec, []
    if spec.fold >= len(manifest.folds):
        return [f"fold {spec.fold} is none of the suite's {len(manifest.folds)}."]
    fold = manifest.folds[spec.fold]
    if record.data_hash != manifest.data_hash:
        faults.append("was run on another state of the data than the suite's (data_hash).")
    if fold.split_hash and record.split_hash != fold.split_hash:
        faults.append("has another split than the suite's (split_hash).")
    try:
        own = tested(predictions, cases)
    except KeyError:
        return [*faults, "has predictions of cases that its table of cases lacks."]
    if own.keys() != fold.cases.keys():
        lost, new = len(fold.cases.keys() - own.keys()), len(own.keys() - fold.cases.keys())
        return [*faults, f"has other test cases than the suite's: {lost} are not tested, {new} are none of them."]
    if len(predictions.case_ids) != len(own):
        faults.append("has a test case twice.")
    for i, what in enumerate(("class", "group", "reference mask or label")):
        if n := sum(own[case][i] != fold.cases[case][i] for case in own):
            faults.append(f"has another {what} than the data for {n} of {len(own)} test cases.")
    return faults


def path_of(board: Path, dataset: DatasetSpec, task: str, split: SplitSpec) -> Path:
    """Where a board keeps it."""
    key = content_hash([dataset.name, dataset.version, task, split.model_dump(mode="json")])[:8]
    return board / FOLDER / f"{encode_name(dataset.name)}-{task}-{key}.json"


def write_manifest(board: Path, manifest: Manifest, dataset: DatasetSpec) -> Path:
    """Keep it on a board."""
    path = path_of(board, dataset, manifest.task, manifest.split)
    head = json.dumps(manifest.model_dump(mode="json", exclude={"folds"}))[:-1]
    folds = ",\n".join(
        f'{{"split_hash": "{fold.split_hash}", "cases": {{\n'
        + ",\n".join(f"{json.dumps(case)}: {json.dumps(what)}" for case, what in fold.cases.items())
        + "}}"
        for fold in manifest.folds
    )
    write_text(path, f'{head}, "folds": [\n{folds}]}}\n')
    return path


def read_manifest(path: Path) -> Manifest | None:
    """None where there is no such file.

    Raises:
        BenchError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate(read_json(path, "`usfm-bench leaderboard manifest` writes it anew."))
    except ValidationError as error:
        raise BenchError(f"{path}: is no manifest: {error.errors()[0]['msg']}.") from None
