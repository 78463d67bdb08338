"""Facts on stdout, as aligned text or as JSON."""

from __future__ import annotations

import json
from typing import Any

import typer

from usfm_bench.cli.options import TextFormat
from usfm_bench.core.errors import capped, listed
from usfm_bench.core.pipe_table import printable, printable_lines


def print_facts(facts: Any, form: TextFormat) -> None:
    """Print a mapping (or, as JSON, any value): one `key  value` line an entry, lists and mappings below their key."""
    if form is TextFormat.json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    shown = {key: value for key, value in facts.items() if value not in (None, "", [], {})}
    width = max((len(key) for key in shown), default=0)
    for key, value in shown.items():
        lines = _lines(value)
        typer.echo(f"{key:<{width}}  {lines[0]}")
        for line in lines[1:]:
            typer.echo(f"{'':<{width}}  {line}")


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return capped([printable(f"{key}: {item}") for key, item in value.items()], hint="; --format json has all")
    if isinstance(value, (list, tuple)):
        return [printable(listed(list(map(str, value))))]
    return printable_lines(str(value)).split("\n")
