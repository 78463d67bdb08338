"""Suite -> the grid of trials: dataset x seed x model, for one profile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from usfm_bench.core.errors import BenchError, did_you_mean, unknown
from usfm_bench.core.resources import load_yaml
from usfm_bench.core.settings import Settings
from usfm_bench.core.validation import in_words
from usfm_bench.specs.dataset import DatasetSpec, find_dataset
from usfm_bench.specs.model import resolve
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.suites.recipes import Profile, ProfileName, is_file_name, load_profile, own_name_faults

_HERE = Path(__file__).parent


class Evaluate(Settings):
    """What `usfm-bench evaluate --suite NAME` asks finished trials, where the command names nothing."""

    datasets: tuple[str, ...] = ()
    """All their cases; a trial's own is left out. Empty: the trials' own test cases."""
    conditions: tuple[str, ...] = ()
    """Corruptions, or groups of them, as `--conditions` takes them."""
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = ()
    """Of the corruptions; empty: all five."""


class SuitePart(Settings):
    """Data sets and models of one task."""

    task: str
    """A name of `TASKS`."""
    table: str | None = None
    """Table of the paper that the rows belong to."""
    datasets: tuple[str, ...] = Field(min_length=1)
    """Names in `datasets.yaml`."""
    models: dict[ProfileName, tuple[str, ...]]
    """Model names, by profile."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of `TrainingSpec` that this suite changes in every profile."""
    evaluate: Evaluate | None = None
    """What the part's finished trials are asked beyond their test cases, without training."""

    @field_validator("task")
    @classmethod
    def _known_task(cls, name: str) -> str:
        if name not in TASKS:
            raise ValueError(f"unknown task '{name}'.{did_you_mean(name, TASKS)} Known: {', '.join(TASKS)}")
        return name


class Suite(Settings):
    """One file of `suites/`."""

    name: str
    title: str
    default_profile: ProfileName
    seeds: int = Field(ge=1)
    """Number of trial seeds when --seeds is not given."""
    split: SplitSpec
    parts: tuple[SuitePart, ...] = Field(min_length=1)


def suite_names() -> list[str]:
    """Names of all suites."""
    return sorted(path.stem for path in (_HERE).glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """The suite called `name`, or a user's own by the path of its file (which ends in .yaml or .yml).

    Raises:
        BenchError: no such suite (the nearest is suggested), or faults of the file, all of them at once.
    """
    if is_file_name(name):
        path = Path(name)
        return _own_suite(load_yaml(path), path)
    if name not in suite_names():
        hint = f"Known: {', '.join(suite_names())}. Your own is named by its file, such as --suite {name}.yaml."
        raise unknown("suite", name, suite_names(), hint=hint)
    path = _HERE / f"{name}.yaml"
    values = {**load_yaml(path), "name": name}
    return Suite.model_validate(values)


def suite_name(name: str) -> str:
    """What the results of a suite are filed under: the name itself, or that of a user's own file.

    Raises:
        BenchError: faults of the file.
    """
    return load_suite(name).name if is_file_name(name) else name


def known_suite(name: str) -> Suite | None:
    """The suite of that name or file; None where the name is of no suite, as of trials that another version ran."""
    return load_suite(name) if is_file_name(name) or name in suite_names() else None


def _own_suite(content: Any, path: Path) -> Suite:
    faults = [f"{path}: {fault}" for fault in own_name_faults(path.stem, "suite", suite_names())]
    if not isinstance(content, dict):
        needed = ", ".join(key for key, field in Suite.model_fields.items() if key != "name" and field.is_required())
        raise BenchError("\n".join([*faults, f"{path}: expected a mapping with the keys {needed}."]))
    if "name" in content:
        faults.append(f"{path}: name: a suite is called as its file is; leave the key out.")
    values = {**content, "name": path.stem}
    try:
        suite = Suite.model_validate(values)
    except ValidationError as error:
        raise BenchError("\n".join([*faults, *in_words(error, Suite, values, str(path))])) from None
    if faults:
        raise BenchError("\n".join(faults))
    return suite


def plan_suite(
    suite: Suite,
    registry: dict[str, DatasetSpec],
    *,
    profile: str | None = None,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    seeds: Sequence[int] = (),
    repeats: int | None = None,
) -> list[TrialSpec]:
    """Every trial of the suite, in the order in which they run.

    Args:
        suite: what to run.
        registry: all data sets.
        profile: a shipped profile, or the file of a user's own; the suite's default when None.
        models: replace the suite's own models.
        datasets: replace the suite's own data sets; each goes to the parts whose task it has.
        seeds: trial seeds; the suite's number of seeds when empty.
        repeats: random holdouts of each data set; the suite's own number when None.

    Raises:
        BenchError: an unknown name, or a name that fits no task of the suite, all of them in one message; or a profile
            with faults.
    """
    split = _repeated(suite, repeats)
    chosen_profile = load_profile(profile or suite.default_profile)
    faults = _name_faults(suite, registry, chosen_profile, models, datasets)
    recipes, unfit = _recipes(suite, chosen_profile)
    if faults + unfit:
        raise BenchError("\n".join(faults + unfit))
    per_part = _datasets_per_part(suite, registry, datasets)
    trials = []
    for part, training, names in zip(suite.parts, recipes, per_part, strict=True):
        entries = [resolve(name) for name in models or part.models.get(chosen_profile.extends, ())]
        # An entry's own name: `NAME@full` is NAME, and not a second model.
        chosen = dict.fromkeys(entry.name for entry in entries if TASKS[part.task].takes(entry.gives))
        for name, seed, model, fold in product(names, seeds or range(suite.seeds), chosen, range(split.parts)):
            trials.append(
                TrialSpec(
                    suite=suite.name,
                    table=part.table,
                    task=part.task,
                    dataset=find_dataset(name, registry),
                    model=model,
                    profile=chosen_profile.name,
                    training=training,
                    split=split,
                    fold=fold,
                    seed=seed,
                )
            )
    if not trials:
        raise BenchError(f"Suite '{suite.name}' has nothing to run with these --models and --datasets.")
    return trials


def _repeated(suite: Suite, repeats: int | None) -> SplitSpec:
    if repeats is None:
        return suite.split
    if suite.split.kind != "holdout":
        raise BenchError(
            f"Suite '{suite.name}' has {suite.split.folds} folds, each of which tests other cases; --repeats is for "
            "suites with a holdout."
        )
    return suite.split.model_copy(update={"repeats": repeats})


def _recipes(suite: Suite, profile: Profile) -> tuple[list[TrainingSpec], list[str]]:
    """The recipe of each part, and the faults of those that have none."""
    recipes: list[TrainingSpec] = []
    faults: list[str] = []
    for i, part in enumerate(suite.parts):
        try:
            recipes.append(profile.recipe(part.task, part.training, f"{suite.name}.yaml: parts.{i}.training"))
        except BenchError as error:
            faults.append(str(error))
    return recipes, faults


def _datasets_per_part(
    suite: Suite, registry: dict[str, DatasetSpec], datasets: Sequence[str]
) -> list[tuple[str, ...]]:
    if not datasets:
        return [part.datasets for part in suite.parts]
    per_part = [tuple(d for d in datasets if part.task in find_dataset(d, registry).tasks) for part in suite.parts]
    # A trial's folder does not name the task, so a data set must go through one task of a suite only:
    # the part that lists it already, where there is one.
    for name in datasets:
        takers = [i for i, names in enumerate(per_part) if name in names]
        if len(takers) > 1:
            own = [i for i in takers if name in suite.parts[i].datasets]
            if len(own) != 1:
                raise BenchError(
                    f"Dataset '{name}' fits {len(takers)} tasks of suite '{suite.name}'. "
                    "Choose a suite of one task, such as busi-seg or busi-cls."
                )
            per_part = [n if i == own[0] else tuple(d for d in n if d != name) for i, n in enumerate(per_part)]
    return per_part


def _name_faults(
    suite: Suite,
    registry: dict[str, DatasetSpec],
    profile: Profile,
    models: Sequence[str],
    datasets: Sequence[str],
) -> list[str]:
    tasks = {part.task for part in suite.parts}
    faults = []
    parts = [({part.task}, part.datasets, part.models.get(profile.extends, ())) for part in suite.parts]
    for wanted, name in [(tasks, d) for d in datasets] or [(task, d) for task, names, _ in parts for d in names]:
        try:
            found = find_dataset(name, registry)
            if not wanted & set(found.tasks):
                used = _join(found.tasks) or "no task"
                faults.append(f"Dataset '{name}' is for {used}, suite '{suite.name}' for {_join(wanted)}.")
        except BenchError as error:
            faults.append(_own_data_hint(name, suite) or str(error))
    if not models and not any(names for *_, names in parts):
        named = {name for part in suite.parts for name in part.models}
        faults.append(
            f"Suite '{suite.name}' names models for {_join(named) or 'no profile'} and not for '{profile.extends}'; "
            "choose another with --profile, or models with --models."
        )
    for wanted, name in [(tasks, m) for m in models] or [(task, m) for task, _, names in parts for m in names]:
        try:
            fit = set(resolve(name).tasks)
            if not wanted & fit:
                faults.append(f"Model '{name}' is for {_join(fit)}, suite '{suite.name}' for {_join(wanted)}.")
        except BenchError as error:
            faults.append(str(error))
    return list(dict.fromkeys(faults))


def _own_data_hint(name: str, suite: Suite) -> str:
    if name != "clinical" or not any(name in part.datasets for part in suite.parts):
        return ""
    return (
        f"Suite '{suite.name}' runs on your own images, and no data set 'clinical' is registered. "
        "Make one with `usfm-bench data add clinical FOLDER` (docs/adding.md), name another with --datasets, "
        "or try the simulated stand-in: --datasets phantom-clinical"
    )


def _join(names: object) -> str:
    return " and ".join(sorted(names))  # type: ignore[call-overload]
