"""Files that travel with the package: the registry, the suites, the paper's tables.

In a checkout they lie at the top level, where people look for them; the wheel carries copies under `_resources/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from usfm_bench.core.errors import BenchError

_PACKAGE = Path(__file__).parents[1]
# Ten times as fast where PyYAML has it, but a file nested a hundred thousand deep would end the process.
_SHIPPED_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def resource(name: str) -> Path:
    """Path of a shipped file such as `datasets.yaml` or `reports/reference/paper_tables.yaml`."""
    packed = _PACKAGE / "_resources" / name
    return packed if packed.exists() else _PACKAGE.parents[1] / name


def load_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        BenchError: the file is missing, cannot be read or is not YAML; names the file and the line.
    """
    try:
        shipped = path.is_relative_to(_PACKAGE.parents[1])
        return yaml.load(path.read_text(encoding="utf-8"), _SHIPPED_LOADER if shipped else yaml.SafeLoader)
    except FileNotFoundError:
        raise BenchError(f"{path}: no such file.") from None
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: not valid YAML: {error}") from None
    except RecursionError:
        raise BenchError(f"{path}: not valid YAML: nested too deeply.") from None
