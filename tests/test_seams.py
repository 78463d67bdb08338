"""Tasks and families of models are told apart in their own rooms alone: no other module knows their names or forms."""

import ast
from collections.abc import Iterator
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


def outside(*rooms: str) -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text()) for name, path in MODULES.items() if not name.startswith(rooms)}


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every string but docstrings, which are statements of their own, and names of modules in `import_module(...)`."""
    own = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in own:
            yield node


def names_a_family(text: str) -> bool:
    kind, colon, _ = text.partition(":")
    names_one = bool(colon and kind in FAMILIES) or text.startswith(PREFIXES)
    return text in FAMILIES or (names_one and " " not in text and text.partition(".")[0] != "usfm_bench")


def found(trees: dict[str, ast.Module], is_one) -> list[str]:
    return [f"{name}:{node.lineno}" for name, tree in trees.items() for node in ast.walk(tree) if is_one(node)]


def test_no_module_outside_the_zoo_names_a_family():
    named = [
        f"{module}:{node.lineno}: {node.value!r}"
        for module, tree in outside("models/zoo/").items()
        for node in strings(tree)
        if names_a_family(node.value) and not module.startswith(ALSO.get(node.value, ("?",)))
    ]
    assert named == []


def test_the_names_that_are_looked_for_are_found_where_they_belong():
    trees = [ast.parse(path.read_text()) for name, path in MODULES.items() if name.startswith("models/zoo/")]
    assert {node.value for tree in trees for node in strings(tree) if names_a_family(node.value)} >= {*FAMILIES, "vit_"}


def test_no_module_outside_the_tasks_names_a_task():
    named = [
        f"{module}:{node.lineno}"
        for module, tree in outside("tasks/", "models/zoo/").items()
        for node in strings(tree)
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

    assert found(outside("tasks/", "models/zoo/"), is_sign) == []
