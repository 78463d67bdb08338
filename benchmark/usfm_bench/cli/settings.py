"""Settings that a command takes from a file, from its options and from `--set`: the later have their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from usfm_bench.core.errors import BenchError, did_you_mean
from usfm_bench.core.resources import load_yaml
from usfm_bench.core.validation import Fault, dotted_fields, faults


class LayeredSettings:
    """Values by dotted key, where each was said, and all that is wrong with them.

    Args:
        command: stands before faults of what was said nowhere.
        options: names that are options of the command alone, and no settings.
    """

    def __init__(self, command: str, options: Sequence[str] = ()) -> None:
        self.values: dict[str, Any] = {}
        self.faults: list[str] = []
        self._places: dict[str, str] = {}
        self._command, self._options = command, options

    def add(self, values: Mapping[Any, Any], place: Callable[[str], str]) -> None:
        """Values by key, dotted or nested, that replace those from before.

        Args:
            values: any content of a YAML mapping.
            place: key -> where it was said, for messages.
        """
        for key, value in _flat(values):
            self.values[key], self._places[key] = value, place(key)

    def add_file(self, path: Path) -> None:
        """The content of a YAML file."""
        try:
            content = load_yaml(path)
        except BenchError as error:
            self.faults.append(f"--config {error}")
            return
        if not isinstance(content, dict):
            self.faults.append(f"--config {path}: expected a mapping of keys to values, such as `steps: 1000`.")
            return
        self.add(content, lambda key: f"--config {path}: {key}")

    def add_options(self, values: Mapping[str, Any]) -> None:
        """What options of the command say; None: not given."""
        self.add({key: value for key, value in values.items() if value is not None}, lambda key: f"--{_dashed(key)}")

    def add_sets(self, lines: Sequence[str]) -> None:
        """`key=value` each, the value in YAML."""
        for line in lines:
            key, equals, text = line.partition("=")
            if not equals or not all(key.strip().split(".")):
                self.faults.append(
                    f"--set {line}: expected KEY=VALUE, such as steps=1000; `--set help` lists the keys."
                )
                continue
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError:
                self.faults.append(f"--set {line}: the value is not valid YAML; put text that is none in quotes.")
                continue
            self.add({key.strip(): value}, lambda key: f"--set {key}")

    def build(self, *kinds: type[BaseModel]) -> list[Any]:
        """An object of each kind, from the values that it has fields for; the first is also given all others.

        Raises:
            BenchError: every fault.
        """
        fields = [set(kind.model_fields) for kind in kinds]
        fields[0] = {key.split(".")[0] for key in self.values} - set().union(*fields[1:])
        made = []
        for kind, own in zip(kinds, fields, strict=True):
            values = _nested({key: value for key, value in self.values.items() if key.split(".")[0] in own})
            try:
                made.append(kind.model_validate(values))
            except ValidationError as error:
                self.faults += [self._in_words(fault, kinds) for fault in faults(error, kind, values)]
        if self.faults:
            raise BenchError("\n".join(self.faults))
        return made

    def _in_words(self, fault: Fault, kinds: Sequence[type[BaseModel]]) -> str:
        said = fault.said
        if said.startswith("unknown key"):
            is_option = fault.key in self._options
            near = did_you_mean(fault.key, known_keys(*kinds))
            said = f"is an option of its own, --{_dashed(fault.key)}" if is_option else f"unknown key.{near}"
        for key, place in self._places.items():
            if fault.key == key or fault.key.startswith(f"{key}."):
                return f"{place}{fault.key[len(key) :]}: {said}"
        return ": ".join(filter(None, (self._command, fault.key, said)))


def known_keys(*kinds: type[BaseModel]) -> list[str]:
    """Dotted keys of models, sorted."""
    return sorted({key for kind in kinds for key, _ in dotted_fields(kind)})


def explain_keys(*kinds: type[BaseModel]) -> Iterator[str]:
    """A line a key: its default, and what it is."""
    for kind in kinds:
        for key, field in dotted_fields(kind):
            default = "" if field.is_required() else f" = {_shown(field.get_default(call_default_factory=True))}"
            yield f"{key}{default}\n    {' '.join((field.description or '').split())}"


def _shown(value: object) -> str:
    return yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True).split("\n")[0]


def _flat(values: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as mappings in mappings; a value in the way of one is left there, for the model to refuse."""
    result: dict[str, Any] = {}
    for key, value in sorted(values.items()):
        *above, last = key.split(".")
        place: Any = result
        for part in above:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place
        if isinstance(place, dict):
            place[last] = value
    return result


def _dashed(key: str) -> str:
    return key.replace("_", "-")
