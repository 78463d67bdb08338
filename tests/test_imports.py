"""Imports follow the data flow, no two rooms need each other, and what needs no torch works without it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "benchmark" / "usfm_bench"
# The data flow of architecture, from left to right: a room may import itself and those before it.
FLOW = [
    *("core", "specs", "suites", "data", "metrics", "models", "tasks", "training", "pretraining", "results", "stats"),
    *("regression", "claims", "reporting", "board", "pipeline", "execution", "api", "cli", "__main__"),
]
# Against the flow, with the reason; (importing module, imported room) -> when it is imported.
ALLOWED = {
    ("specs.task", "data"): "types",  # a task is described before anything is; its entries use the types
    ("specs.task", "models"): "types",
    ("specs.task", "metrics"): "late",  # `primary` and `headline` look up the definitions that a task names
    ("specs.family", "models"): "late",  # what most families share in building networks, which needs torch
    ("specs.method", "pretraining"): "types",
}
TORCH_FREE = [
    *(
        "core",
        "specs",
        "suites",
        "tasks",
        "data",
        "metrics",
        "results",
        "stats",
        "regression",
        "claims",
        "reporting",
        "board",
    ),
    *("execution.engine", "execution.engines", "execution.session", "pretraining.card", "pretraining.weights", "cli"),
]
NEEDS_TORCH = ("data.transforms", "data.loaders")  # modules of torch-free rooms that training alone uses


class Import(NamedTuple):
    """One import of a module of ours."""

    source: str
    target: str
    when: str
    """`top`, `late` (inside a function) or `types` (under TYPE_CHECKING)."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(node: ast.AST, source: str, when: str = "top") -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports(child, source, "late")
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from imports(child, source, "types")
        elif isinstance(child, ast.ImportFrom) and (child.module or "").partition(".")[0] == "usfm_bench":
            base = (child.module or "").removeprefix("usfm_bench").lstrip(".")
            for name in child.names:
                full = f"{base}.{name.name}".lstrip(".")
                yield Import(source, full if full in MODULES else base, when)
        elif isinstance(child, ast.Import):
            for name in child.names:
                if name.name.startswith("usfm_bench."):
                    yield Import(source, name.name.removeprefix("usfm_bench."), when)
        else:
            yield from imports(child, source, when)


ALL = [found for name, path in MODULES.items() for found in imports(ast.parse(path.read_text()), name)]


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_has_its_place_in_the_flow():
    assert {room(name) for name in MODULES} - {"", "__init__"} <= set(FLOW)


def test_imports_follow_the_data_flow():
    against = {
        found
        for found in ALL
        if found.target
        and room(found.source) in FLOW
        and FLOW.index(room(found.target)) > FLOW.index(room(found.source))
    }
    unlisted = {f for f in against if ALLOWED.get((f.source, room(f.target))) not in ("late", f.when)}
    assert not unlisted
    assert {(f.source, room(f.target)) for f in against} == {listed for listed in ALLOWED if listed[0] in MODULES}


def test_no_module_needs_one_that_needs_it():
    graph: dict[str, set[str]] = {}
    for source, target, when in ALL:
        if when == "top" and target:
            graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_two_rooms_need_each_other():
    """Also not by imports inside functions, but for those that are listed."""
    graph: dict[str, set[str]] = {}
    for source, target, when in ALL:
        if when != "types" and target and room(source) != room(target) and (source, room(target)) not in ALLOWED:
            graph.setdefault(room(source), set()).add(room(target))
    TopologicalSorter(graph).prepare()


def test_an_install_without_torch_can_import_the_torch_free_rooms():
    """In one fresh interpreter: every module of them, in turn; and no import looks up a name, which loads plug-ins."""
    names = [
        name
        for name in MODULES
        if any(name == free or name.startswith(f"{free}.") for free in TORCH_FREE) and name not in NEEDS_TORCH
    ]
    code = f"""
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'timm', 'torchvision', 'kornia', 'lightning_fabric', 'safetensors'):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
failed = {{}}
for name in {names}:
    try:
        importlib.import_module("usfm_bench." + name)
    except ModuleNotFoundError as error:
        failed[name] = error.name
from usfm_bench.core import plugins
print(failed, plugins._loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert done.stdout == "{} None\n"


def test_help_imports_nothing_slow():
    code = "import sys, usfm_bench.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert not {"torch", "timm", "pandas", "sklearn", "seaborn", "pydantic", "numpy"} & set(done.stdout.split())
