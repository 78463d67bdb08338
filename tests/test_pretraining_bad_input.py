"""Bad input to every registered method: too little data, settings that do not fit, losses that are not finite."""

import math
from dataclasses import replace

import pytest
import torch

from small_pretrainings import every_method, small_images, small_options, small_recipe
from usfm_bench.core.errors import BenchError, TrialError
from usfm_bench.models.checkpoint import read_tensors
from usfm_bench.pretraining.card import card_path, read_card
from usfm_bench.pretraining.loop import pretrain
from usfm_bench.specs.method import METHODS

pytest.importorskip("lightly")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """28 images of five organs."""
    return small_images(small_recipe("usfm"), tmp_path_factory.mktemp("images"))


@pytest.fixture
def train(tmp_path, images):
    """Train by a method; gives the options, whose `out` holds the weights."""

    def run(name, kind="w", *, data=images, tell=lambda row: None, resume=False, **changes):
        options = small_options(tmp_path, name, kind, resume=resume)
        pretrain(small_recipe(name, **{"steps": 2} | changes), data, options, tell)
        return options

    return run


def assert_finite(options):
    assert math.isfinite(read_card(options.out).final["loss"])
    assert all(bool(torch.isfinite(value.float()).all()) for value in read_tensors(options.out).values())


@every_method
def test_fewer_images_than_a_batch_are_seen_again_or_refused_with_the_size_that_fits(train, tmp_path, name):
    few = small_images(small_recipe(name, datasets=["few"], all_images=True), tmp_path)
    assert len(few.organs) == 3
    if not METHODS[name].distinct:
        assert_finite(train(name, data=few))
        return
    with pytest.raises(BenchError, match=r"would hold some twice\. Set batch_size to 3 or less, or add images"):
        train(name, data=few)
    assert_finite(train(name, data=few, batch_size=3))


@every_method
def test_one_organ_alone_is_enough_and_a_rare_one_beside_it_is_seen_as_often(train, images, name):
    one = replace(images, organs=("breast",) * len(images.organs))
    assert_finite(train(name, data=one))
    rare = replace(one, organs=("thyroid", *one.organs[1:]))
    if METHODS[name].distinct:
        with pytest.raises(BenchError, match=r"there are 1 images of thyroid, .* Set batch_size to 2 or less"):
            train(name, "rare", data=rare)
        assert_finite(train(name, "rare", data=rare, batch_size=2))
    else:
        assert_finite(train(name, "rare", data=rare))


@every_method
def test_without_changes_to_images_a_method_trains_or_says_why_it_cannot(train, name):
    fields = METHODS[name].settings.model_fields
    assert "augment" in fields
    try:
        spec = small_recipe(name, augment=[])
    except BenchError as error:
        assert "both views would be the same image" in str(error)  # noqa: PT017 - either is right, by the method
        assert fields["augment"].default
        return
    assert_finite(train(name, augment=spec.augment))


@every_method
def test_no_method_has_a_queue_that_could_be_longer_than_the_data(name):
    with pytest.raises(BenchError, match="queue_size: unknown key"):
        small_recipe(name, queue_size=4096)


@every_method
def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_last_good_checkpoint(train, monkeypatch, name):
    whole = train(name, "whole", steps=6)
    real, steps = METHODS[name].step, []

    def spoiled(self, views):
        losses = real(self, views)
        steps.append(1)
        return {key: value * math.nan for key, value in losses.items()} if len(steps) == 5 else losses

    monkeypatch.setattr(METHODS[name], "step", spoiled)
    with pytest.raises(TrialError, match=r"the loss is nan at step 5 of 6\. The checkpoint .* is kept\. A smaller"):
        train(name, steps=6)
    monkeypatch.setattr(METHODS[name], "step", real)
    resumed = train(name, steps=6, resume=True)
    one, other = read_tensors(whole.out), read_tensors(resumed.out)
    assert all(torch.equal(one[key], other[key]) for key in one)


@every_method
def test_other_settings_are_not_continued_and_are_named(train, tmp_path, name):
    def stop(row):
        if row["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(name, steps=6, tell=stop)
    before = small_options(tmp_path, name, "w").state.read_bytes()
    with pytest.raises(BenchError, match=r"(?s)cannot be continued with these settings.*lr: 0\.001 -> 0\.002"):
        train(name, steps=6, lr=2e-3, resume=True)
    assert small_options(tmp_path, name, "w").state.read_bytes() == before


@every_method
def test_a_place_that_cannot_be_written_is_said_before_the_first_step(images, tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    rows = []
    with pytest.raises(BenchError, match="cannot be written"):
        pretrain(small_recipe(name), images, small_options(tmp_path / "file", name, "w"), rows.append)
    assert not rows


@every_method
def test_no_steps_write_the_weights_that_training_starts_from(train, name):
    none, two = train(name, "none", steps=0), train(name, "two", steps=2)
    assert read_card(none.out).final == {}
    assert card_path(none.out).is_file()
    assert not none.state.exists()
    start, trained = read_tensors(none.out), read_tensors(two.out)
    assert start.keys() == trained.keys()
    assert {key: value.shape for key, value in start.items()} == {key: value.shape for key, value in trained.items()}
    assert any(not torch.equal(start[key], trained[key]) for key in start)
    assert all(torch.equal(start[key], value) for key, value in read_tensors(train(name, "again", steps=0).out).items())
