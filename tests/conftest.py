"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def _find(name: str, *roots: Path) -> Path:
    for root in roots:
        if (root / name).exists():
            return root
    pytest.skip(f"{name} is in none of {', '.join(map(str, roots))}; set USFM_BENCH_DATA to the folder that holds it")


@pytest.fixture(scope="session")
def busi_root() -> Path:
    """Folder that holds the real Dataset_BUSI_with_GT."""
    given = os.environ.get("USFM_BENCH_DATA")
    return _find("Dataset_BUSI_with_GT", *([Path(given)] if given else []), PROJECT.parent / "shared" / "datasets")


@pytest.fixture(scope="session")
def usfm_fixtures() -> Path:
    """Folder with usfm_format_tiny.pth and what the published architecture computes from it."""
    return _find("usfm_format_tiny.pth", PROJECT.parent / "shared" / "fixtures")
