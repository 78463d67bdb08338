"""Pre-training of plain vision transformers: masked autoencoding, SimMIM, deblurring, BEiT, SimCLR, MoCo v3, DINO."""

import math

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

from usfm_bench.core.errors import BenchError
from usfm_bench.models import embed
from usfm_bench.models.checkpoint import read_tensors
from usfm_bench.pretraining.card import read_card
from usfm_bench.pretraining.data import load_images
from usfm_bench.pretraining.loop import pretrain
from usfm_bench.pretraining.plain_images import PLAIN
from usfm_bench.pretraining.sampling import Step
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.method import METHODS
from usfm_bench.specs.pretraining import Options, build_spec

pytest.importorskip("lightly")
pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("mae", "simmim", "deblur-mae", "beit", "simclr", "mocov3", "dino")
FAMILY = {"deblur-mae": "deblurringmim"}
every = pytest.mark.parametrize("name", NAMES)
REGISTRY = "tiny:\n  extends: phantom-unlabelled\n  options: {n: 40, size: 64}\n"
BASE = {"model": "vit_micro_patch8_64", "datasets": ["tiny"], "image_size": 32, "batch_size": 8, "threads": 1}
IMAGES = torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def torch_as_it_was():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    (folder / "registry.yaml").write_text(REGISTRY)
    return load_images(recipe("mae"), load_registry(folder / "registry.yaml"), folder)


def recipe(name, **settings):
    return build_spec({"method": name, "steps": 6, "lr": 1e-3, **BASE, **settings}, "test")


def method(name, **settings):
    spec = recipe(name, **settings)
    return METHODS[name](spec)


def step(places=range(6)):
    return Step(0, np.array(places), 6, 0)


@every
def test_a_pretraining_goes_on_with_the_same_bits_and_its_file_loads_whole(name, data, tmp_path):
    def run(out, steps=6, **how):
        spec = recipe(name).model_copy(update={"steps": 6})
        return pretrain(spec, data, Options(out=out, checkpoint_every=3, log_every=2, **how))

    card = run(tmp_path / "whole.safetensors")
    assert math.isfinite(card.final["loss"])
    assert read_card(tmp_path / "whole.safetensors") == card
    rows = []

    def stop(row):
        rows.append(row)
        if row["step"] >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe(name), data, Options(out=tmp_path / "cut.safetensors", checkpoint_every=3, log_every=2), stop)
    run(tmp_path / "cut.safetensors", resume=True)
    whole, cut = (read_tensors(tmp_path / f"{of}.safetensors") for of in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    features = embed(f"{FAMILY.get(name, 'mae')}:{tmp_path / 'whole.safetensors'}", torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 128)


@every
def test_losses_do_not_depend_on_how_masked_batches_are_divided(name):
    made = method(name)
    whole = made.views(IMAGES, step())
    halves = [made.views(IMAGES[part], step(range(6)[part])) for part in (slice(0, 3), slice(3, 6))]
    for own, first, second in zip(whole, *halves, strict=True):
        torch.testing.assert_close(own, torch.cat([first, second]))
    if name in ("mae", "simmim", "deblur-mae"):
        losses = [made.step(views)["loss"].item() for views in (whole, *halves)]
        assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, rel=1e-5)


def test_maes_encoder_sees_visible_patches_alone_and_its_loss_is_the_written_out_one():
    made = method("mae", augment=[])
    views = made.views(IMAGES, step())
    assert views.kept.shape == (6, 4)  # a quarter of 16
    assert views.masked.shape == (6, 12)
    assert all(sorted([*k.tolist(), *m.tolist()]) == list(range(16)) for k, m in zip(*views[1:], strict=True))
    seen = []
    made.network.vit.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    loss = made.step(views)["loss"]
    assert seen == [(6, 5, 128)]
    # What is hidden changes nothing but the target.
    other = IMAGES.clone()
    for i in range(6):
        for place in views.masked[i].tolist():
            row, column = divmod(place, 4)
            other[i, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0.5
    net = made.network
    net.eval()
    patches = F.unfold(IMAGES, 8, stride=8).mT
    target = torch.stack([patches[i, views.masked[i]] for i in range(6)])
    target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    # By hand: embed visible tokens, put mask tokens in the other places, decode, predict.
    vit, decoder = net.vit, net.decoder
    tokens = vit.patch_embed(net.normalise(other)) + vit.pos_embed[:, 1:]
    visible = torch.stack([tokens[i, views.kept[i]] for i in range(6)])
    first = (vit.cls_token + vit.pos_embed[:, :1]).expand(6, -1, -1)
    encoded = net.embed(vit.norm(vit.blocks(torch.cat([first, visible], 1))))
    full = decoder.mask_token.expand(6, 17, -1).clone()
    for i in range(6):
        full[i, 0] = encoded[i, 0]
        full[i, views.kept[i] + 1] = encoded[i, 1:]
    decoded = net.predict(decoder.norm(decoder.blocks(full + decoder.pos_embed)))
    found = torch.stack([decoded[i, views.masked[i] + 1] for i in range(6)])
    torch.testing.assert_close(loss, F.mse_loss(found, target), rtol=1e-4, atol=1e-6)


def test_deblurring_shows_blurred_images_and_asks_for_sharp_ones():
    made = method("deblur-mae", augment=[])
    views = made.views(IMAGES, step())
    shown = []
    made.network.vit.patch_embed.register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    made.step(views)
    import cv2

    blurred = np.stack([cv2.GaussianBlur(image[0].numpy(), (9, 9), 1.1) for image in IMAGES])
    expected = made.network.normalise(torch.from_numpy(blurred)[:, None])
    torch.testing.assert_close(shown[0], expected, atol=1e-5, rtol=1e-4)


def test_simmim_puts_one_token_in_the_place_of_masked_patches():
    made = method("simmim", augment=[])
    views = made.views(IMAGES, step())
    hidden = IMAGES.clone()
    for i in range(6):
        for place in views.masked[i].tolist():
            row, column = divmod(place, 4)
            hidden[i, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0.1
    net = made.network
    tokens = [net.masked.encode(net.normalise(each), idx_mask=views.masked + 1) for each in (IMAGES, hidden)]
    torch.testing.assert_close(tokens[0], tokens[1])
    predicted = net.predict(torch.stack([tokens[0][i, views.masked[i] + 1] for i in range(6)]))
    patches = F.unfold(IMAGES, 8, stride=8).mT
    target = torch.stack([patches[i, views.masked[i]] for i in range(6)])
    torch.testing.assert_close(made.step(views)["loss"], (predicted - target).abs().mean())


def test_simclrs_loss_is_the_written_out_one():
    made = method("simclr", temperature=0.5)
    views = made.views(IMAGES, step())
    assert not torch.equal(*views)
    made.network.eval()
    z = F.normalize(made.network.head(made.network.online(torch.cat(views))), dim=1)
    terms = []
    for i in range(12):
        others = [j for j in range(12) if j != i]
        logits = torch.stack([z[i] @ z[j] / 0.5 for j in others])
        terms.append(torch.logsumexp(logits, 0) - z[i] @ z[(i + 6) % 12] / 0.5)
    torch.testing.assert_close(made.step(views)["loss"], torch.stack(terms).mean(), rtol=1e-4, atol=1e-6)


def test_mocos_keys_come_from_an_encoder_that_follows():
    made = method("mocov3", momentum=0.9, temperature=0.2)
    views = made.views(IMAGES, step())
    net = made.network
    net.eval()
    q = [F.normalize(net.predictor(net.online(v)), dim=1) for v in views]
    k = [F.normalize(net.momentum(v), dim=1) for v in views]
    expected = sum(
        0.4 * -torch.log_softmax(a @ b.T / 0.2, dim=1).diagonal().mean() for a, b in ((q[0], k[1]), (q[1], k[0]))
    )
    torch.testing.assert_close(made.step(views)["loss"], expected, rtol=1e-4, atol=1e-6)
    made.step(views)["loss"].backward()
    assert all(p.grad is None for p in net.momentum.parameters())
    assert net.vit.patch_embed.proj.weight.grad is None  # fixed, as published
    before = net.momentum[0].vit.norm.weight.clone()
    with torch.no_grad():
        net.vit.norm.weight.add_(1)
        made.after_step(3)  # half of the way: 1 - 0.1 * 1 / 2
    torch.testing.assert_close(net.momentum[0].vit.norm.weight, 0.95 * before + 0.05 * (before + 1))


def test_beits_tokens_are_those_of_k_means_and_its_loss_is_the_written_out_one():
    made = method("beit", augment=[], tokens=8)
    views = made.views(IMAGES, step())
    net = made.network
    loss = made.step(views)["loss"]
    patches = F.unfold(IMAGES, 8, stride=8).mT
    patches = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    flat = patches.flatten(0, 1)
    centres = flat[[round(95 * k / 7 - 0.499) for k in range(8)]]
    torch.testing.assert_close(net.tokenizer.centres, centres, rtol=1e-4, atol=1e-4)
    nearest = ((flat[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
    tokens = net.masked.encode(net.normalise(IMAGES), idx_mask=views.masked + 1)
    logits = torch.stack([net.predict(tokens[i, views.masked[i] + 1]) for i in range(6)])
    wanted = torch.stack([nearest.view(6, 16)[i, views.masked[i]] for i in range(6)])
    torch.testing.assert_close(loss, F.cross_entropy(logits.mT, wanted), rtol=1e-4, atol=1e-5)
    made.after_step(1)  # each centre counted once, and now as often as it was nearest besides
    for k in range(8):
        own = flat[nearest == k]
        torch.testing.assert_close(net.tokenizer.centres[k], (centres[k] + own.sum(0)) / (1 + len(own)))
    before = net.tokenizer.centres.clone()
    made.step(views)
    made.after_step(51)  # it is fixed after tokenizer_steps
    assert torch.equal(net.tokenizer.centres, before)


def test_dinos_loss_is_the_written_out_one_and_its_teacher_follows():
    made = method("dino", momentum=0.9, outputs=16)
    views, net = made.views(IMAGES, step()), made.network
    said = [torch.log_softmax(net.head(net.online(v)) / 0.1, dim=1) for v in views]
    outputs = [net.slow_head(net.slow(v)) for v in views]
    wanted = [torch.softmax(out / 0.04, dim=1) for out in outputs]  # the centre is 0 at first
    expected = sum(-(wanted[i] * said[1 - i]).sum(1).mean() for i in (0, 1)) / 2
    loss = made.step(views)["loss"]
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.criterion.center[0, 0], 0.1 * torch.cat(outputs).mean(0))
    loss.backward()
    assert all(p.grad is None for p in [*net.slow.parameters(), *net.slow_head.parameters()])
    before = net.slow.vit.norm.weight.clone()
    with torch.no_grad():
        net.vit.norm.weight.add_(1)
        made.after_step(3)  # half of the way: 1 - 0.1 * 1 / 2
    torch.testing.assert_close(net.slow.vit.norm.weight, 0.95 * before + 0.05 * (before + 1))


@every
def test_a_few_steps_lower_the_loss(name):
    made = method(name, augment=["hflip"] if name in ("simclr", "mocov3", "dino") else [])
    trained = [p for p in made.network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=2e-3)
    if name == "dino":
        made.network.criterion.center_momentum = 1.0  # a loss against a target that moves need not fall
    views, losses = made.views(IMAGES, step()), []
    for done in range(12):
        loss = made.step(views)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        made.after_step(done)
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad is not None for p in trained)  # none is unused, which distributed training would refuse


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("mae", {"image_size": 36}, "image_size 36 is not a multiple of the encoder's patch, 8"),
        ("mae", {"ratio": 0.01}, "masks none or all of them"),
        ("simclr", {"augment": []}, "both views would be the same image"),
        ("mocov3", {"batch_size": 4, "accumulate": 4}, "a micro-batch has one image"),
        ("simmim", {"augment": ["hue"]}, "augment"),
        ("dino", {"augment": []}, "both views would be the same image"),
        ("beit", {"tokens": 500}, "tokens 500 start from the 128 patches of a micro-batch"),
    ],
)
def test_settings_that_do_not_go_together_are_named(name, settings, words):
    with pytest.raises(BenchError, match=words):
        recipe(name, **settings)


def test_an_unknown_encoder_is_refused_with_the_nearest():
    with pytest.raises(BenchError, match="Did you mean 'vit_tiny_patch16_224'"):
        method("mae", model="vit_tinny_patch16_224")


def test_an_image_twice_in_a_batch_is_refused_where_images_are_told_apart(data, tmp_path):
    with pytest.raises(BenchError, match=r"would hold some twice.*batch_size to 25 or less"):
        pretrain(recipe("simclr", batch_size=64), data, Options(out=tmp_path / "w.pth"))


def test_plain_encoders_are_those_of_timm():
    for name in ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"):
        with torch.device("meta"):
            own = timm.create_model("vit_base_patch16_224", num_classes=0, **PLAIN[name])
            other = timm.create_model(name, num_classes=0)
        assert {k: v.shape for k, v in own.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}
