"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from usfm_bench.core.errors import BenchError

_PLACES = "Where things lie"

DataRoot = Annotated[
    Path,
    typer.Option(envvar="USFM_BENCH_DATA", help="Folder that data set paths are relative to.", rich_help_panel=_PLACES),
]
RegistryFile = Annotated[
    Path | None,
    typer.Option(
        help="File with further data sets; `datasets.yaml` in this folder is read without being named.",
        rich_help_panel=_PLACES,
    ),
]


def _keep_decoded(folder: Path | None) -> Path | None:
    """Worker processes find the folder where they look for it, too."""
    if folder is not None:
        os.environ["USFM_BENCH_CACHE"] = str(folder)
    return folder


CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="USFM_BENCH_CACHE",
        callback=_keep_decoded,
        help="Keep decoded images here for the next start, at most USFM_BENCH_CACHE_LIMIT (20) GB; it holds patient "
        "images. Without: they are kept nowhere.",
        rich_help_panel=_PLACES,
    ),
]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder of the results.", rich_help_panel=_PLACES)]


def _fetched(runs: Any) -> Path:
    """The folder; of a URL, one with a copy of its trials."""
    from usfm_bench.results.remote import is_url, local_copy

    return local_copy(runs) if isinstance(runs, str) and is_url(runs) else Path(runs)


AnyRuns = Annotated[
    Path,
    typer.Option(
        "--runs",
        parser=_fetched,
        metavar="PATH",
        help="Folder of the results, or a URL that `run --push` copied them to.",
        rich_help_panel=_PLACES,
    ),
]

DATA_ROOT = Path("data")
RUNS = Path("reports/runs")


class Device(StrEnum):
    """Where tensors live."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class TextFormat(StrEnum):
    """How a command prints facts."""

    text = "text"
    json = "json"


def split_names(value: str | None) -> list[str]:
    """`a,b` -> ["a", "b"].

    >>> split_names("usfm-tiny-scratch, timm:resnet18@scratch")
    ['usfm-tiny-scratch', 'timm:resnet18@scratch']
    """
    return list(dict.fromkeys(name.strip() for name in (value or "").split(",") if name.strip()))


def parse_pairs(values: Sequence[str] | None, option: str) -> dict[str, str]:
    """`NAME=VALUE` of an option that may be given several times.

    >>> parse_pairs(["partition=gpu", "time=04:00:00"], "-E")
    {'partition': 'gpu', 'time': '04:00:00'}

    Raises:
        BenchError: no `=`, no name, or a name twice.
    """
    pairs: dict[str, str] = {}
    for value in values or []:
        name, equals, setting = value.partition("=")
        if not name or not equals:
            raise BenchError(f"{option} is '{value}'; expected NAME=VALUE.")
        if name in pairs:
            raise BenchError(f"{option} {name} is given twice.")
        pairs[name] = setting
    return pairs


def parse_seeds(value: str | None) -> list[int]:
    """`5` -> seeds 0 to 4; `0,3,7` -> these; nothing -> none, which leaves the choice to the suite.

    >>> parse_seeds("3"), parse_seeds("0,3,7"), parse_seeds("4,")
    ([0, 1, 2], [0, 3, 7], [4])

    Raises:
        BenchError: not numbers, negative, or no seed at all.
    """
    if value is None:
        return []
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise BenchError(f"--seeds is '{value}'; expected a number of seeds such as 5, or a list such as 0,3,7.")
    seeds = list(dict.fromkeys(map(int, parts)))
    if "," in value:
        return seeds
    if seeds == [0]:
        raise BenchError("--seeds 0 means no seed at all. One seed is `--seeds 1`; seed 0 alone is `--seeds 0,`.")
    return list(range(seeds[0]))
