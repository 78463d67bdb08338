"""A profile and a task -> the recipe of a fine-tuning: a shipped profile, what a suite changes, what a user changes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from usfm_bench.core.errors import BenchError, did_you_mean, unknown
from usfm_bench.core.resources import load_yaml
from usfm_bench.core.validation import faults
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec

ProfileName = Literal["paper", "quick", "smoke"]
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Profile:
    """A shipped profile, or one with a user's changes to it."""

    name: str
    """What results are filed under."""
    extends: ProfileName
    """The shipped profile; its own name where nothing is changed."""
    file: str = ""
    """The user's file, as it was named."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys of `TrainingSpec` and their values, as the user's file has them."""

    def recipe(self, task: str, suite: Mapping[str, Any] | None = None, where: str = "") -> TrainingSpec:
        """The recipe for one task: the shipped profile, then the keys of a suite, then those of the user's file.

        Args:
            task: what is trained.
            suite: keys of `TrainingSpec` that the suite changes, and their values.
            where: file and place of the suite's keys, for messages.

        Raises:
            BenchError: every fault of the suite's keys, or else of the user's; names the file and the key.
        """
        values = _shipped(self.extends)[task]
        for keys, place in (
            ({}, f"{self.extends}.yaml: {task}"),
            (suite or {}, where),
            (self.changes.get(task, {}), f"{self.file}: {task}"),
        ):
            values = {**values, **keys}
            if faults := [*_faults(values, task, place)]:
                raise BenchError("\n".join(faults))
        return TrainingSpec.model_validate(values)


def load_profile(name: str) -> Profile:
    """A shipped profile by its name, or a user's own by the path of its file (which ends in .yaml or .yml).

    Raises:
        BenchError: no such profile (the nearest is suggested), or faults of the file, all of them at once.
    """
    if name in PROFILES:
        return Profile(name, name)
    path = Path(name)
    if not is_file_name(name):
        hint = f"Known: {', '.join(PROFILES)}. Your own is named by its file, such as --profile {name}.yaml."
        raise unknown("profile", name, PROFILES, hint=hint)
    content = load_yaml(path)
    if faults := [f"{path}: {fault}" for fault in _form_faults(path.stem, content)]:
        raise BenchError("\n".join(faults))
    profile = Profile(path.stem, content.pop("extends"), str(path), content)
    shipped = _shipped(profile.extends)
    # Whether options go together is known only with what the suite changes; single keys are judged here.
    if faults := [
        fault
        for task, keys in profile.changes.items()
        for fault in _faults({**shipped[task], **keys}, task, f"{path}: {task}", only_keys=True)
    ]:
        raise BenchError("\n".join(faults))
    return profile


def is_file_name(name: str) -> bool:
    """Whether a suite or a profile is named by a user's own file: `gentle.yaml`."""
    return Path(name).suffix.lower() in (".yaml", ".yml")


def own_name_faults(name: str, kind: str, shipped: Collection[str]) -> Iterator[str]:
    """What is wrong with the name of a user's own suite or profile, which is its file's without the ending."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        yield f"'{name}' names the folder of its results, and so may have only a to z, 0 to 9, and inside also - and _"
    if name in shipped:
        yield f"'{name}' is a shipped {kind}; give the file another name"


def _shipped(name: ProfileName) -> dict[str, dict[str, Any]]:
    shipped: dict[str, dict[str, Any]] = load_yaml(_HERE / "profiles" / f"{name}.yaml")
    return {task: dict(entry.recipes.get(name, {})) for task, entry in TASKS.items()} | shipped


def _form_faults(name: str, content: Any) -> Iterator[str]:
    yield from own_name_faults(name, "profile", PROFILES)
    if not isinstance(content, dict):
        yield f"expected `extends: quick` and the keys to change, below {' or '.join(f'`{task}:`' for task in TASKS)}"
        return
    if (base := content.get("extends")) not in PROFILES:
        near = did_you_mean(base, PROFILES) if isinstance(base, str) else ""
        yield f"extends: expected one of {', '.join(PROFILES)}.{near}"
    for key, value in content.items():
        if key in TASKS and not isinstance(value, dict):
            yield f"{key}: expected a mapping of keys to values"
        elif key not in (*TASKS, "extends"):
            yield f"{key}: unknown key.{did_you_mean(str(key), (*TASKS, 'extends'))}"


def _faults(values: Mapping[str, Any], task: str, where: str, *, only_keys: bool = False) -> Iterator[str]:
    """What is wrong with a recipe; `only_keys`: with single keys, not with how they go together."""
    if unfit := [key for key in values if not isinstance(key, str)]:
        yield from (f"{where}.{key}: unknown key" for key in unfit)
        return
    for name, other in TASKS.items():
        for key in sorted(other.only_here) if name != task else ():
            if values.get(key, default := TrainingSpec.model_fields[key].default) != default:
                yield f"{where}.{key}: is a setting of {name} alone"
    try:
        TrainingSpec.model_validate(values)
    except ValidationError as error:
        for key, said in faults(error, TrainingSpec, values):
            if key or not only_keys:
                yield f"{where}.{key}: {said}" if key else f"{where}: {said}"
