"""The weights behind a model name: loaded where they lie, pre-trained first where they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from usfm_bench.core.errors import WeightsError
from usfm_bench.core.files import check_writable
from usfm_bench.core.locks import locked
from usfm_bench.pretraining.card import read_card
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.model import ModelEntry, load_recipe
from usfm_bench.specs.pretraining import Options

Say = Callable[[str], None]


def ensure_weights(
    entry: ModelEntry,
    registry: Mapping[str, DatasetSpec],
    data_root: Path,
    device: str,
    say: Say,
    *,
    wait: bool = True,
) -> None:
    """Pre-train what the entry's recipe describes, unless its weights are there; other entries are left alone.

    Raises:
        LockHeldError: another process is pre-training them; not with `wait`.
        WeightsError: weights of another recipe lie there; they are left as they are.
    """
    path = entry.weight_file
    if entry.recipe is None or path is None:
        return
    recipe = load_recipe(entry.recipe)
    check_writable(path.parent)
    waiting = f"{entry.name}: another process is pre-training its weights; waiting for it ..."
    with locked(lock_path(path), wait=wait, before_waiting=lambda: say(waiting)):
        if path.is_file():
            card = read_card(path)
            if card is not None and card.recipe_hash != recipe.hash:
                raise WeightsError(
                    f"'{path}' was pre-trained by another recipe ({card.recipe_hash[:8]}) than '{entry.recipe}' now "
                    f"stands for ({recipe.hash[:8]}). Delete it to have it made anew, or use it as "
                    f"{entry.family}:{path}."
                )
            return
        from usfm_bench.pretraining.data import load_images
        from usfm_bench.pretraining.loop import pretrain
        from usfm_bench.training.device import resolve_device

        say(f"{entry.name}: no weights in '{path}'. Pre-training by its recipe: {recipe.steps} steps ...")
        how = {"out": path, "device": resolve_device(device), "resume": True, "checkpoint_every": 200}
        card = pretrain(recipe, load_images(recipe, registry, data_root), Options.model_validate(how))
        say(f"  done in {card.wall_s:.0f} s: loss {card.final['loss']:.3f}, {card.final['images_per_s']:.0f} images/s")


def lock_path(weights: Path) -> Path:
    """The lock of the process that writes a weight file."""
    return weights.with_name(f".{weights.name}.lock")
