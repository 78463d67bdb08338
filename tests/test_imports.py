import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "benchmark" / "usfm_bench"
# The data flow of docs/design.md, from left to right; a package may import itself and those before it.
FLOW = ["core", "specs", "suites", "data", "metrics", "models", "tasks", "training", "results", "pretraining", "stats"]
FLOW += ["regression", "claims", "reporting", "cli"]
TORCH_FREE = [
    "core.settings",
    "core.plugins",
    "specs.trial",
    "specs.model",
    "specs.task",
    "suites.plan",
    "tasks.scoring",
    "data.readers",
    "metrics",
    "specs.pretraining",
    "pretraining.card",
    "pretraining.weights",
    "results.store",
    "results.rescore",
    "stats",
    "regression.check",
    "reporting",
    "reporting.figures",
    "claims",
    "cli",
]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("usfm_bench."):
            names.add(node.module.split(".")[1])
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("usfm_bench.")}
    return names


@pytest.mark.parametrize("package", FLOW[:-1])
def test_imports_follow_the_data_flow(package):
    later = set(FLOW[FLOW.index(package) + 1 :]) | {"pipeline", "execution"}
    modules = [path for path in (PACKAGE / package).rglob("*.py") if path != PACKAGE / "specs" / "task.py"]
    wrong = {path.name: found for path in modules if (found := imported(path) & later)}
    assert not wrong


@pytest.mark.parametrize("module", TORCH_FREE)
def test_an_install_without_torch_can_import(module):
    code = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'timm', 'torchvision', 'kornia', 'lightning_fabric'):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import usfm_bench.{module}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_slow():
    code = "import sys, usfm_bench.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert not {"torch", "timm", "pandas", "sklearn", "seaborn", "pydantic", "numpy"} & set(done.stdout.split())
