"""Where a number came from: versions, commit, machine kind. No user, host or path."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "usfm-bench",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "segmentation-models-pytorch",
    "kornia",
    "numpy",
    "scipy",
    "scikit-learn",
    "opencv-python-headless",
)


@cache
def describe_environment() -> dict[str, Any]:
    """Package versions, Python, processor architecture, git commit of the checkout (None for an installed wheel)."""
    return {
        "versions": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def code_version() -> dict[str, Any]:
    """What half-done work must share to be continued: the commit and the versions of the libraries."""
    found = describe_environment()
    return {"git_commit": found["git_commit"], "versions": found["versions"]}


def now() -> str:
    """Time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    top = Path(__file__).parents[3]
    if not (top / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(top), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
