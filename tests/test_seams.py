"""Tasks and families of models are told apart in their own rooms alone: no other module knows their names or forms."""

import ast
from functools import cache
from pathlib import Path

from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.task import TASKS

PACKAGE = Path(__file__).parents[1] / "benchmark" / "usfm_bench"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
PREFIXES = ("vit_", "deit", "beit", "eva0", "eva_", "usfm_", "unet-", "swin", "convnext")
PLAIN = ("micro_patch8_64", "tiny_patch16_224", "small_patch16_224", "base_patch16_224")
# The same word for something else: a layout of data sets, a pre-training method, a package whose version is recorded,
# and encoders of a pre-training.
ALSO = {
    "usfm": ("data/readers/", "data/add/", "pretraining/", "specs/pretraining.py", "cli/pretrain.py"),
    "timm": ("core/environment.py", "models/__init__.py"),
    **dict.fromkeys(("beit", "dino", "mae", "simclr", "mocov3"), ("pretraining/methods/",)),
    **{f"vit_{name}": ("pretraining/",) for name in PLAIN},
    "usfm_tiny_patch16_224": ("specs/pretraining.py", "cli/pretrain.py", "pretraining/"),
}
# A key of COCO's files, and modules of metrics.
NO_TASK = {
    ("data/readers/coco.py", "segmentation"),
    ("metrics/__init__.py", "classification"),
    ("metrics/__init__.py", "enhancement"),
}


@cache
def nodes(module: str) -> list[ast.AST]:
    return [*ast.walk(ast.parse(MODULES[module].read_text()))]


def outside(*rooms: str) -> list[str]:
    return [name for name in MODULES if not name.startswith(rooms)]


@cache
def strings(module: str) -> list[ast.Constant]:
    """Every string but docstrings, which are statements of their own, and names of modules in `import_module(...)`."""
    own = {id(node.value) for node in nodes(module) if isinstance(node, ast.Expr)}
    return [
        node
        for node in nodes(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in own
    ]


def names_a_family(text: str) -> bool:
    kind, colon, _ = text.partition(":")
    names_one = bool(colon and kind in FAMILIES) or text.startswith(PREFIXES)
    return text in FAMILIES or (names_one and " " not in text and text.partition(".")[0] != "usfm_bench")


def test_no_module_outside_the_zoo_names_a_family():
    named = [
        f"{module}:{node.lineno}: {node.value!r}"
        for module in outside("models/zoo/")
        for node in strings(module)
        if names_a_family(node.value) and not module.startswith(ALSO.get(node.value, ("?",)))
    ]
    assert named == []


def test_the_names_that_are_looked_for_are_found_where_they_belong():
    texts = {node.value for name in MODULES if name.startswith("models/zoo/") for node in strings(name)}
    assert {text for text in texts if names_a_family(text)} >= {*FAMILIES, "vit_"}


def test_no_module_outside_the_tasks_names_a_task():
    named = [
        f"{module}:{node.lineno}"
        for module in outside("tasks/", "models/zoo/")
        for node in strings(module)
        if node.value in TASKS and (module, node.value) not in NO_TASK
    ]
    assert named == []


def test_no_module_outside_the_tasks_tells_them_apart_by_what_they_predict():
    def is_sign(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            return "Predictions" in ast.unparse(node.args[1])
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            # `column == "DSC"` and `"DSC" in rows`
            return any(isinstance(part, ast.Constant) and part.value == "DSC" for part in parts)
        return isinstance(node, ast.Attribute) and node.attr == "ndim" and "target" in ast.unparse(node.value)

    outsiders = outside("tasks/", "models/zoo/")
    assert [f"{name}:{node.lineno}" for name in outsiders for node in nodes(name) if is_sign(node)] == []
