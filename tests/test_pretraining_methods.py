"""The seam of pre-training methods: one that the package does not know trains and resumes like its own."""

import copy
import csv
import json
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.models import load_backbone
from usfm_bench.pretraining.card import card_path, read_card
from usfm_bench.pretraining.data import load_images
from usfm_bench.pretraining.loop import pretrain
from usfm_bench.pretraining.model import build_encoder, published_state
from usfm_bench.pretraining.sampling import Step
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.method import METHODS, Method
from usfm_bench.specs.pretraining import Options, PretrainSpec, build_spec

pytestmark = pytest.mark.usefixtures("one_thread")
TOY = {
    "method": "toy",
    "model": "usfm_micro_patch16_224",
    "datasets": ["tiny"],
    "image_size": 32,
    "steps": 6,
    "batch_size": 8,
    "threads": 1,
}


class ToySpec(PretrainSpec):
    """Settings of the toy."""

    temperature: float = 0.2
    """Of the contrast."""
    kind: Literal["near", "far"] = "near"
    """How views differ."""


class Toy(Method[ToySpec]):
    """Two noisy views, flipped at random; a momentum encoder and a queue of its features."""

    settings = ToySpec

    def __init__(self, spec):
        self.spec = spec
        encoder = build_encoder(spec.model, spec.image_size, spec.drop_path)
        online = nn.Sequential(encoder, nn.Dropout(0.1), nn.Linear(96, 8))
        self.network = nn.ModuleDict({"online": online, "momentum": copy.deepcopy(online).requires_grad_(False)})
        self.network.register_buffer("queue", F.normalize(torch.randn(16, 8), dim=1))
        self.network.register_buffer("place", torch.zeros((), dtype=torch.long))

    def views(self, images, step):
        flips = step.draw(lambda n, generator: torch.rand(n, 2, generator=generator)) < 0.5
        noise = step.draw(lambda n, generator: torch.randn(n, 2, *images.shape[1:], generator=generator))
        both = [torch.where(flips[:, k, None, None, None], images.flip(-1), images) + 0.1 * noise[:, k] for k in (0, 1)]
        return [view.expand(-1, 3, -1, -1) for view in both]

    def step(self, views):
        query = F.normalize(self.network["online"](views[0]).float(), dim=1)
        with torch.no_grad():
            self.keys = F.normalize(self.network["momentum"](views[1]).float(), dim=1)
        same = (query * self.keys).sum(dim=1, keepdim=True)
        logits = torch.cat([same, query @ self.network.queue.T.clone()], dim=1) / self.spec.temperature
        loss = F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long))
        return {"loss": loss, "similarity": same.mean()}

    def after_step(self, done):
        for slow, fast in zip(self.network["momentum"].parameters(), self.network["online"].parameters(), strict=True):
            slow.lerp_(fast, 1 / (done + 1))
        places = (self.network.place + torch.arange(len(self.keys))) % len(self.network.queue)
        self.network.queue[places] = self.keys
        self.network.place += len(self.keys)

    @property
    def encoder(self):
        return published_state(self.network["momentum"][0])


@pytest.fixture
def toy():
    METHODS.register("toy")(Toy)
    yield
    del METHODS._entries["toy"]


@pytest.fixture
def train(tmp_path, tiny_registry, toy):
    registry = load_registry(tiny_registry)

    def run(name="w.pth", *, tell=lambda row: None, options=None, **changes):
        spec = build_spec(TOY | changes, "test")
        chosen = Options(out=tmp_path / name, **({"log_every": 2, "checkpoint_every": 2} | (options or {})))
        pretrain(spec, load_images(spec, registry, tmp_path), chosen, tell)
        return chosen

    return run


def stop_at(step):
    def tell(row):
        if row["step"] == step:
            raise KeyboardInterrupt

    return tell


def rows_of(options):
    return list(csv.DictReader(options.out.with_suffix(".csv").read_text().splitlines()))


def test_a_method_of_one_class_trains_and_its_losses_are_the_columns(train):
    options = train()
    rows = rows_of(options)
    assert list(rows[0]) == ["step", "lr", "loss", "similarity", "images_per_s"]
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert not options.out.with_suffix(".png").exists()  # it has nothing to show
    assert load_backbone(options.out).embed_dim == 96
    assert float(rows[0]["similarity"]) != float(rows[-1]["similarity"])
    card = read_card(options.out)
    assert isinstance(card.recipe, ToySpec)
    assert card.final["similarity"] == pytest.approx(float(rows[-1]["similarity"]), abs=1e-6)


def test_its_own_state_is_resumed_with_the_same_bits(train):
    whole = train("whole.pth")
    with pytest.raises(KeyboardInterrupt):
        train("parts.pth", tell=stop_at(4))
    state = torch.load((whole.out.parent / "parts.pth.state"), weights_only=True)["model"]
    assert state["place"] == 16  # two steps of 8
    assert any(key.startswith("momentum.") for key in state)
    parts = train("parts.pth", options={"resume": True})
    assert whole.out.read_bytes() != b""
    one, other = (torch.load(options.out, weights_only=True) for options in (whole, parts))
    assert all(torch.equal(one[key], other[key]) for key in one | other)
    assert [row["loss"] for row in rows_of(whole)] == [row["loss"] for row in rows_of(parts)]


def test_views_do_not_depend_on_how_a_batch_is_divided(toy):
    method = Toy(build_spec(TOY, "test"))
    images = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = method.views(images, Step(3, np.arange(8), 8, seed=0))
    for places in (np.arange(8)[1::2], np.array([5])):
        share = method.views(images[torch.from_numpy(places)], Step(3, places, 8, seed=0))
        assert all(torch.equal(a, b[torch.from_numpy(places)]) for a, b in zip(share, whole, strict=True))
    assert not torch.equal(whole[0], method.views(images, Step(4, np.arange(8), 8, seed=0))[0])


def test_its_settings_are_checked_hashed_and_explained(toy):
    spec = build_spec(TOY | {"temperature": 0.5}, "test")
    assert spec.hash != build_spec(TOY, "test").hash
    with pytest.raises(
        BenchError, match=r"(?s)temperature_: unknown key\. Did you mean 'temperature'\?.*masking: unknown"
    ):
        build_spec(TOY | {"temperature_": 0.5, "masking": {"ratio": 0.5}}, "test")
    shown = CliRunner().invoke(app, ["pretrain", "--method", "toy", "--set", "help"]).stdout
    assert "temperature = 0.2\n    Of the contrast." in shown
    assert "masking" not in shown


def test_a_method_that_masks_nothing_says_so(tmp_path, tiny_registry, toy):
    line = ["pretrain", "--registry", str(tiny_registry), "--show-masks", str(tmp_path / "masks.png")]
    for key, value in TOY.items():
        line += ["--set", f"{key}={json.dumps(value)}"]
    result = CliRunner().invoke(app, line)
    assert "method 'toy' masks nothing" in str(result.exception)


def test_a_card_of_a_method_that_is_not_installed_still_says_what_was_seen(train):
    out = train(steps=2, temperature=0.3).out
    known = read_card(out)
    del METHODS._entries["toy"]
    try:
        card = read_card(out)
    finally:
        METHODS.register("toy")(Toy)
    assert card.seen == known.seen
    assert card.recipe.hash == card.recipe_hash == known.recipe.hash
    assert json.loads(card.model_dump_json()) == json.loads(card_path(out).read_text())


def test_a_recipe_of_before_keeps_its_hash():
    # Of the committed recipe of usfm-micro and of a default one, when all settings lay in one class.
    from usfm_bench.specs.model import load_recipe

    later = {"augment": (), "l1_over": "all", "lambda_frequency": 1.0}
    assert (
        load_recipe("usfm-micro").model_copy(update=later).hash
        == "8314b4e4feb469460d8530a82167cbe1282534774d52c46124979812c86e1b9b"
    )
    assert (
        build_spec({"datasets": ["a"], "steps": 10}, "t").hash
        == "d49ae183a8f47a6a9e2a340c87e0ef47ebc7b5efefac2f140345b87bfd143842"
    )
    assert (
        build_spec({"datasets": ["a"], "steps": 10, "method": "frequency"}, "t").hash
        == "f78b1b25629ab8092ae960495c05d75cc37fefea5e72d0f72aaf83047a4795f4"
    )


def test_a_checkpoint_is_written_by_time_too_and_changes_nothing(train, tmp_path):
    plain = train("plain.pth", options={"checkpoint_every": 100})
    seen = []
    soon = {"checkpoint_every": 100, "checkpoint_minutes": 1e-9}
    timed = train("timed.pth", options=soon, tell=lambda row: seen.append((tmp_path / "timed.pth.state").exists()))
    assert seen == [False, True, True]  # the one of step 2 is there when step 4 is told
    one, other = (torch.load(options.out, weights_only=True) for options in (plain, timed))
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(KeyboardInterrupt):
        train("late.pth", options={"checkpoint_every": 100, "checkpoint_minutes": 60}, tell=stop_at(4))
    assert not (tmp_path / "late.pth.state").exists()


def test_safetensors_hold_the_same_numbers(train):
    from safetensors.torch import load_file

    tensors = load_file(train("w.safetensors").out)
    pickled = torch.load(train("w.pth").out, weights_only=True)
    assert tensors.keys() == pickled.keys()
    assert all(torch.equal(tensors[key], pickled[key]) for key in pickled)
    assert read_card(train("v.safetensors").out) is not None
