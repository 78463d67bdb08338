"""A recipe of a second or so for every registered pre-training method, images for it, and trainings by all of them.

What other processes are to run lies here and not in a test file, whose name they would not know.
"""

import shutil
from functools import partial

import pytest

from usfm_bench.pretraining.data import load_images
from usfm_bench.pretraining.loop import _train
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.method import METHODS
from usfm_bench.specs.pretraining import Options, build_spec

SMALL = {"usfm_tiny_patch16_224": "usfm_micro_patch16_224", "vit_tiny_patch16_224": "vit_micro_patch8_64"}
"""Default encoder of a method -> the smallest one of its kind."""
FAST = ("usfm", "mae", "simclr")
REGISTRY = """
tiny:
  extends: phantom-unlabelled
  options: {n: 40, size: 64}
few:
  extends: phantom-unlabelled
  options: {n: 3, size: 64}
"""
every_method = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
"""Runs a test with the name of each registered method; all but three are slow."""


def small_recipe(name, **changes):
    """Six steps of a method at 32 px."""
    fields = METHODS[name].settings.model_fields
    values = {"method": name, "model": SMALL.get(model := fields["model"].default, model), "datasets": ["tiny"]}
    values |= {"image_size": 32, "batch_size": 8, "steps": 6, "lr": 1e-3, "threads": 1}
    if "masking" in fields:
        values["masking"] = {"patch_size": 16, "base_bandwidth": 2, "protected": 1}
    return build_spec(values | changes, "test")


def small_images(spec, folder):
    """The images of a small recipe."""
    (folder / "registry.yaml").write_text(REGISTRY)
    return load_images(spec, load_registry(folder / "registry.yaml"), folder)


def small_options(folder, name, kind, **how):
    """Of a training of a method; checkpoints are written after its third and sixth step."""
    out = folder / f"{name}-{kind}.safetensors"
    return Options(out=out, log_every=1, checkpoint_every=3, sheet_every=0, **how)


def train_all(fabric, recipes, data, folder, kinds):
    """Train by every method in this process, which is one of the fabric's.

    Args:
        fabric: of one process or of several.
        recipes: method -> recipe.
        data: images.
        folder: of all files.
        kinds: last part of the files' names -> the one that is to go on from this one's third step, if any. Where there
            is a checkpoint of the first, it is continued.
    """
    for name, spec in recipes.items():
        for kind, copy in kinds.items():
            options = small_options(folder, name, kind, resume=True)
            copies = [third_step(folder, name, kind)]
            copies += [small_options(folder, name, copy).state] if copy else []
            fault = _train(fabric, spec, data, options, partial(_put_aside, options.state, copies))
            if fault is not None:
                raise fault


def third_step(folder, name, kind):
    """Where `train_all` puts a copy of the checkpoint of the third step."""
    return small_options(folder, name, kind).out.with_suffix(".third")


def _put_aside(state, copies, row):
    if row["step"] == 4:
        for copy in copies:
            shutil.copy(state, copy)
