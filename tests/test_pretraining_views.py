"""Random changes to images before masking: by hand, and the same however a batch is divided."""

import numpy as np
import pytest
import torch

from usfm_bench.core.errors import BenchError
from usfm_bench.pretraining.methods.usfm import Usfm
from usfm_bench.pretraining.sampling import Step
from usfm_bench.pretraining.views import change_images
from usfm_bench.specs.pretraining import build_spec

N, SIZE = 64, 32
RECIPE = {"datasets": ["a"], "steps": 1, "image_size": SIZE, "model": "usfm_micro_patch16_224"}
RECIPE |= {"masking": {"patch_size": 16, "base_bandwidth": 2, "protected": 1}}
ALL = ("crop", "hflip", "vflip", "gain", "speckle")


def step(places=range(N), number=3):
    return Step(number, np.asarray(places), N, seed=0)


def images():
    return torch.rand(N, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def ramps():
    """A horizontal and a vertical ramp from 0 to 1, as two batches."""
    ramp = ((torch.arange(SIZE) + 0.5) / SIZE).expand(N, 1, SIZE, SIZE)
    return ramp, ramp.transpose(2, 3)


def test_without_names_nothing_is_drawn_or_changed():
    before, one = images(), step()
    assert change_images(before, (), 0.5, one) is before
    assert torch.equal(
        one.draw(lambda n, g: torch.rand(n, generator=g)), step().draw(lambda n, g: torch.rand(n, generator=g))
    )


@pytest.mark.parametrize(("name", "axis"), [("hflip", 3), ("vflip", 2)])
def test_a_flip_mirrors_about_every_second_image_along_its_axis(name, axis):
    before = images()
    after = change_images(before, [name], 0.67, step())
    kept = (after - before).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (after - before.flip(axis)).abs().amax((1, 2, 3)) < 1e-4
    assert bool((kept ^ mirrored).all())
    assert N // 4 < int(mirrored.sum()) < 3 * N // 4


@pytest.mark.parametrize("scale", [0.3, 0.67])
def test_a_crop_is_a_box_inside_the_image_with_the_area_and_the_shape_that_are_asked_for(scale):
    # Of a ramp, a box shows where it begins and how wide it is: two pixels inside it are known by their values.
    spans = []
    for ramp, axis in zip(ramps(), (3, 2), strict=True):
        line = change_images(ramp, ["crop"], scale, step()).select(5 - axis, SIZE // 2)[:, 0]
        width = (line[:, -3] - line[:, 2]) * SIZE / (SIZE - 5)
        start = line[:, 2] - width * 2.5 / SIZE
        assert bool((start > -1e-3).all())
        assert bool((start + width < 1 + 1e-3).all())
        assert float(torch.diff(line[:, 2:-2], n=2).abs().max()) < 1e-4  # evenly stretched
        spans.append(width)
    area, shape = spans[0] * spans[1], spans[0] / spans[1]
    assert float(shape.min()) > 0.74
    assert float(shape.max()) < 1.35
    assert float(area.max()) < 1.001
    assert float(area.min()) > scale * 0.87  # a box wider than the image is cut at its side
    assert float(area.std()) > 0.05


def test_gain_is_a_gamma_and_speckle_multiplies():
    before = images()
    after = change_images(before, ["gain"], 1, step())
    gamma = (after.log() / before.log()).flatten(1)
    assert float(gamma.std(dim=1).max()) < 1e-2
    assert 0.7 <= float(gamma.mean(dim=1).min()) < 0.8 < 1.2 < float(gamma.mean(dim=1).max()) <= 1.41
    speckled = change_images(0.5 * torch.ones(N, 1, SIZE, SIZE), ["speckle"], 1, step())
    assert float(speckled.mean()) == pytest.approx(0.5, abs=0.01)
    assert 0.02 < float(speckled.std()) < 0.08
    assert not change_images(torch.zeros(N, 1, SIZE, SIZE), ["speckle"], 1, step()).any()


def test_values_stay_grey_levels_and_draws_do_not_depend_on_how_a_batch_is_divided():
    before = images()
    whole = change_images(before, ALL, 0.3, step())
    assert 0 <= float(whole.min()) < float(whole.max()) <= 1
    for places in (np.arange(N)[1::2], np.array([5])):
        rows = torch.from_numpy(places)
        share = change_images(before[rows], ALL, 0.3, step(places))
        assert torch.allclose(share, whole[rows], atol=1e-6)
    assert not torch.equal(whole, change_images(before, ALL, 0.3, step(number=4)))


def test_the_method_reconstructs_the_changed_image_and_a_recipe_without_changes_keeps_its_hash_and_masks():
    spec = build_spec(RECIPE, "t")
    assert not {"augment", "crop_scale"} & spec.model_dump(mode="json").keys()
    changed = build_spec(RECIPE | {"augment": ["crop", "hflip"]}, "t")
    assert changed.hash != spec.hash
    before = images()
    views = Usfm(changed).views(before, step())
    assert torch.equal(views.images, change_images(before, ("crop", "hflip"), 0.67, step()))
    assert torch.equal(Usfm(spec).views(before, step()).images, before)


def test_an_unknown_change_is_named():
    with pytest.raises(BenchError, match="augment"):
        build_spec(RECIPE | {"augment": ["hue"]}, "t")
