"""What pydantic found in a user's settings, in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from usfm_bench.core.errors import did_you_mean

_LONGEST = 60  # characters of a value in a message


class Fault(NamedTuple):
    """One thing that is wrong with settings."""

    key: str
    """Where, as `a.b`; empty where it is the whole."""
    said: str


def in_words(error: ValidationError, kind: type[BaseModel], values: object, where: str, joint: str = ": ") -> list[str]:
    """Every fault as a line that begins with `where`.

    Args:
        error: of validating `values`.
        kind: the model that they were validated by; its fields are what an unknown key is compared with.
        values: what was validated.
        where: file, entry and so on.
        joint: between `where` and the key.
    """
    return [f"{where}{joint}{f.key}: {f.said}" if f.key else f"{where}: {f.said}" for f in faults(error, kind, values)]


def faults(error: ValidationError, kind: type[BaseModel], values: object) -> list[Fault]:
    """Every fault, in pydantic's order; the readings of one value that several types may have are one fault."""
    found: dict[str, list[str]] = {}
    for each in error.errors(include_url=False):
        parts = list(_keys(each["loc"], values))
        key = ".".join(map(str, parts))
        if each["type"] == "extra_forbidden":
            words = f"unknown key.{did_you_mean(str(parts[-1]), _fields(kind, parts[:-1]))}"
        else:
            words = said(each)
        if words not in found.setdefault(key, []):
            found[key].append(words)
    return [Fault(key, "; or ".join(words)) for key, words in found.items()]


def dotted_fields(kind: type[BaseModel], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a model as `a.b`, those of models within it in place of these."""
    for name, field in kind.model_fields.items():
        inner = list(_models(field.annotation))
        for model in inner:
            yield from dotted_fields(model, f"{above}{name}.")
        if not inner:
            yield f"{above}{name}", field


def said(fault: Mapping[str, Any]) -> str:
    """One fault of `ValidationError.errors()` in words."""
    given, context, kind = _short(fault["input"]), fault.get("ctx", {}), fault["type"]
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    if kind == "missing":
        return "is missing"
    if kind in ("literal_error", "enum"):
        near = did_you_mean(str(fault["input"]), [name.strip("' ") for name in _named(context["expected"])])
        return f"expected {context['expected']}, not {given}.{near}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{words} {context[name]:g}, not {given}"
    start = next((words for prefix, words in _EXPECTED.items() if kind.startswith(prefix)), None)
    if start is None:  # of a kind that no settings have had so far
        start = re.sub("^(Input should (be )?|Value error, )", "", fault["msg"])
    return f"expected {start}, not {given}"


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string_pattern": "text of another form",
    "string_too_short": "text",
    "string": "text (in quotes, where it could be a number)",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping of keys to values",
    "mapping": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "path": "a path",
    "none_required": "nothing",
    "json": "JSON",
}
_LIMITS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be above"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be below"),
    "too_short": ("min_length", "the number of entries must be at least"),
    "too_long": ("max_length", "the number of entries must be at most"),
}


def _keys(location: Sequence[int | str], values: Any) -> Iterator[int | str]:
    """The location without pydantic's names of the types that it tried."""
    for place, part in enumerate(location):
        if _holds(values, part):
            values = values[part]
        elif not (isinstance(values, Mapping) and place == len(location) - 1):  # else the key is missing
            continue
        yield part


def _holds(values: object, part: int | str) -> bool:
    if isinstance(values, Mapping):
        return part in values
    return isinstance(values, (list, tuple)) and isinstance(part, int) and part < len(values)


def _fields(kind: object, parts: Sequence[int | str]) -> list[str]:
    """Keys that the model knows below a place, aliases included."""
    models = list(_models(kind))
    for part in parts:
        if not isinstance(part, int):
            models = [m for k in models if part in k.model_fields for m in _models(k.model_fields[part].annotation)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _models(part)


def _named(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
