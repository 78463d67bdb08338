"""Adds an entry to a registry file; what stands there already, comments included, stays as it is."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_text
from usfm_bench.core.resources import load_yaml, resource
from usfm_bench.specs.dataset import DatasetSpec, load_registry

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def registry_for(extra: Path | None) -> Path:
    """The file that entries are added to: `datasets.yaml` here, or `my-datasets.yaml` where that is the shipped one.

    Raises:
        BenchError: the file given is the shipped registry.
    """
    here, shipped = extra or Path("datasets.yaml"), resource("datasets.yaml")
    if not here.exists() or not here.samefile(shipped):
        return here
    if extra:
        raise BenchError(f"{extra}: is the registry that usfm-bench ships. Give another file with --registry.")
    return Path("my-datasets.yaml")


def check_new_name(name: str, path: Path) -> None:
    """Refuse a name that an entry has already, or that is none.

    Raises:
        BenchError: says what is wrong and what to do.
    """
    if not _NAME.fullmatch(name):
        raise BenchError(
            f"'{name}' cannot be the name of a data set: use small letters, digits, '.', '_' and '-', and begin with "
            "a letter or digit, such as clinic-2024."
        )
    if name in load_registry(path if path.is_file() else None):
        own = path.is_file() and name in (load_yaml(path) or {})
        where = f"'{path}'. Delete that entry" if own else "the registry that usfm-bench ships. Take another name"
        raise BenchError(f"Dataset '{name}' is already in {where}, or call this one '{name}-2'.")


def append_entry(path: Path, name: str, entry: dict[str, Any]) -> DatasetSpec:
    """Append an entry to a registry file, which is made where there is none; all of it, or nothing.

    Raises:
        BenchError: the file is not of a form that text can be appended to; it is kept, and the entry is shown.
    """
    content = path.read_bytes().decode() if path.is_file() else ""
    before = load_yaml(path) or {} if content else {}
    line_end = "\r\n" if "\r\n" in content else "\n"
    gap = "" if not content else line_end if content.endswith("\n") else 2 * line_end
    # PyYAML does not read back every character that it writes as it is, so the second form is ASCII alone.
    forms = [
        yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=unicode, width=120) for unicode in (True, False)
    ]
    texts = [content + gap + added.replace("\n", line_end) for added in forms]
    text = next((text for text in texts if _parsed(text) == {**before, name: entry}), None)
    if text is None:
        raise BenchError(f"{path}: nothing can be appended to it as it is written. Add this by hand:\n\n{forms[1]}")
    spec = _checked(path, text, name)
    write_text(path.resolve(), text)
    return spec


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _checked(path: Path, text: str, name: str) -> DatasetSpec:
    """The new entry as the registry reads it from a file that is deleted again."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, path.name)
        write_text(trial, text)
        return load_registry(trial)[name]
