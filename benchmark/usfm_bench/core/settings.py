"""Frozen settings, and the hash of what they say."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def content_hash(value: Any) -> str:
    """sha256 of a JSON value, independent of key order, as 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Settings(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def later(default: Any, **limits: Any) -> Any:
    """A field that the first version of the settings lacked, with limits as of pydantic's `Field`.

    The one rule of what settings say, and so of their hash: every field of the first version, and of fields that came
    later those that differ from their defaults. A new field changes no hash where it is not used. Its default stays for
    ever: another one would give earlier settings another meaning under the same hash.

    >>> class Cut(Settings):
    ...     depth: int = 1
    ...     angle: float = later(0.0, ge=0)
    >>> Cut().model_dump(), Cut(angle=2).model_dump()
    ({'depth': 1}, {'depth': 1, 'angle': 2.0})
    """
    return Field(default, exclude_if=lambda value: value == default, **limits)


def differing_fields(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Leaves in which two JSON values differ, as `a.b: old -> new`.

    >>> differing_fields({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 1 -> 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for k in keys for line in differing_fields(old.get(k), new.get(k), f"{prefix}{k}.")]
    return [] if old == new else [f"{prefix[:-1]}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
