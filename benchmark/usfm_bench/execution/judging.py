"""Does enhancement help? Networks trained on good images are asked about the images that models enhanced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from usfm_bench.core.errors import BenchError, listed
from usfm_bench.core.locks import locked
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.groups import pixel_hash
from usfm_bench.data.sample import Image, Sample
from usfm_bench.execution.evaluation import evaluate_once
from usfm_bench.execution.evaluation_cases import Sources
from usfm_bench.execution.trained import kept_weights, open_trained
from usfm_bench.results.evaluation import Evaluation, Seen, evaluation_folder
from usfm_bench.results.predictions import load_predictions
from usfm_bench.results.store import lock_path
from usfm_bench.results.trials import Trial
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.task import TASKS
from usfm_bench.tasks.enhancement import EnhancementPredictions, with_images

LOW, GOOD = "low-quality input", "good images"
"""What networks are asked about beside enhanced images."""
Images = Mapping[str, Image]
"""Image of each case."""


class Judgement(NamedTuple):
    """One network on the images that one model made."""

    shown: str
    """`LOW`, `GOOD`, or the model that enhanced the low-quality input."""
    trial: Trial
    """Of the network, as if it had been tested on these images."""
    kept: bool
    """It was there before."""


def judge(
    enhanced: Sequence[Trial],
    judges: Sequence[Trial],
    registry: Mapping[str, DatasetSpec],
    data_root: Path,
    device: str,
    *,
    fresh: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Judgement]:
    """Every network of the judges on its own test cases, as input, as enhanced by each model, and as target.

    A network of one seed is asked about the images that a model of the same seed made. Results lie in `evaluations/` of
    the judge's trial.

    Args:
        enhanced: finished trials whose predictions are images.
        judges: finished trials of other tasks, trained on good images of the same cases.
        registry: all data sets.
        data_root: where their paths are resolved.
        device: `cpu` or `cuda`.
        fresh: set aside what lies there and evaluate anew.
        say: told, in words, what a user should know.

    Raises:
        BenchError: a judge was trained on cases that were enhanced, or has none of them among its test cases.
    """
    if strange := [record.spec.label for _, record in judges if TASKS[record.spec.task].takes_images]:
        raise BenchError(f"{strange[0]} enhances images itself; judges are of another task.")
    sources = Sources(registry, data_root, say)
    for folder, record in judges:
        sides = sources.trained_on(record)
        own = [t for t in enhanced if (t[1].spec.seed, t[1].spec.fold) == (record.spec.seed, record.spec.fold)]
        if not own:
            say(f"{record.spec.label}: no enhanced images of seed {record.spec.seed}, fold {record.spec.fold}.")
        network = cache(partial(open_trained, folder, device))
        for shown, images in _sets_of_images(own):
            cases = _cases(sides.test, images, record.spec.label, known=sides.train.samples + sides.val.samples)
            planned = _planned((folder, record), cases, shown, enhanced[0][1].spec.suite)
            with locked(lock_path(folder), wait=True):
                found, kept = evaluate_once(folder, planned, network, cases, fresh=fresh)
            # What was enhanced by networks of other seeds are other images of the same cases, which share a row.
            as_trial = found.as_trial(record).model_copy(update={"data_hash": record.data_hash})
            yield Judgement(shown, (evaluation_folder(folder, planned.name), as_trial), kept)


def _sets_of_images(enhanced: Sequence[Trial]) -> Iterator[tuple[str, Images]]:
    """What is shown -> images by case: the input, each model's, the target."""
    kept = [(record.spec.model, _images_of(folder)) for folder, record in enhanced]
    for first in kept[:1]:
        yield LOW, dict(zip(first[1].case_ids, first[1].inputs, strict=True))
    for model, images in kept:
        yield model, dict(zip(images.case_ids, images.outputs, strict=True))
    for first in kept[:1]:
        yield GOOD, dict(zip(first[1].case_ids, first[1].targets, strict=True))


def _images_of(folder: Path) -> EnhancementPredictions:
    kept = with_images(load_predictions(folder / "predictions.npz"))
    if kept is None:
        raise BenchError(f"{folder}: its predictions are no images; --by asks about images that models enhanced.")
    return kept


def _cases(test: Dataset, images: Images, label: str, known: Sequence[Sample]) -> Dataset:
    """The test cases with these images in place of theirs."""
    trained_on = {sample.case.case_id for sample in known}
    if seen := [name for name in images if name in trained_on]:
        raise BenchError(
            f"{label} was trained on {len(seen)} of {len(images)} cases that were enhanced ({listed(seen, 3)}). Train "
            "it with the split of the enhanced suite."
        )
    samples = [
        replace(sample, image=images[name], pixel_hash=pixel_hash(images[name]), good=None)
        for sample in test.samples
        if (name := sample.case.case_id) in images
    ]
    if not samples:
        raise BenchError(
            f"{label}: none of its {len(test)} test cases is among the {len(images)} enhanced ones. A judge is trained "
            "on good images of the same data set, under the same case ids."
        )
    if wrong := [s.case.case_id for s in samples if s.mask is not None and s.mask.shape != s.image.shape]:
        raise BenchError(f"{label}: images of {listed(wrong, 3)} are of another size than their masks.")
    return replace(test, samples=tuple(samples), drawn={})


def _planned(trial: Trial, cases: Dataset, shown: str, suite: str) -> Evaluation:
    folder, record = trial
    spec = record.spec
    return Evaluation(
        name=f"{spec.dataset.name}@test {suite}: {shown}",
        trial=spec.label,
        spec_hash=record.spec_hash,
        weights=kept_weights(folder, record).sha256,
        dataset=spec.without_place().dataset,
        data_hash=cases.content_hash,
        own_test=True,
        seen=Seen(n=len(cases), same_dataset=False, pixels=0, groups=0, near_duplicates=0),
        seen_in_pretraining=record.seen_in_pretraining,
        n_test=len(cases),
        n_test_groups=len(set(cases.groups)),
        grouped_by=cases.grouped_by,
        groups=cases.groups_in_words,
        notes=cases.notes,
        definitions={},
        scores={},
    )
