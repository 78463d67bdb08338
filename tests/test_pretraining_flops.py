"""Operations of a training step, and encoders of USFM with patches of 8 pixels."""

import pytest
import torch
from torch.nn import functional as F

from usfm_bench.core.errors import BenchError
from usfm_bench.models import embed, load_backbone
from usfm_bench.pretraining.card import read_card
from usfm_bench.pretraining.data import load_images
from usfm_bench.pretraining.flops import counted
from usfm_bench.pretraining.loop import _Run, pretrain
from usfm_bench.pretraining.model import MaskedAutoencoder
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.pretraining import Options, build_spec

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {
    "model": "usfm_micro_patch8_64",
    "datasets": ["tiny"],
    "image_size": 24,
    "steps": 3,
    "batch_size": 4,
    "masking": {"patch_size": 8, "base_bandwidth": 2, "protected": 1},
    "threads": 1,
}


def test_operations_by_hand():
    a, w = torch.rand(4, 5, requires_grad=True), torch.rand(5, 6, requires_grad=True)
    assert counted(lambda: (a @ w).sum().backward())[1] == 3 * 2 * 4 * 5 * 6  # forward and both gradients
    q, k, v = (torch.rand(2, 3, 10, 16, requires_grad=True) for _ in range(3))
    # Two products forward; backward these and the scores once more.
    one = 2 * 2 * 3 * 10 * 10 * 16
    assert counted(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())[1] == one * (2 + 5)


def test_patches_of_8_are_trained_written_and_read_and_the_card_has_the_operations(
    tiny_registry, tmp_path, monkeypatch
):
    spec, out = build_spec(SMALL, "test"), tmp_path / "w.pth"
    data = load_images(spec, load_registry(tiny_registry), tmp_path)
    card = pretrain(spec, data, Options(out=out, sheet_every=0))
    # By hand, for 10 tokens: qkv, projection and both layers of the MLP; pixels of 9 patches.
    block = 2 * 10 * 128 * (3 * 128 + 128 + 2 * 4 * 128)
    products = 4 * block + 2 * 9 * 128 * 64
    patches = 2 * 9 * 128 * 3 * 64
    attention = 4 * 2 * 10 * 10 * 128
    assert card.flops_per_image == pytest.approx(3 * products + 2 * patches + 3.5 * 2 * attention, rel=0.02)
    assert card.images_seen == 12
    backbone = load_backbone(out)
    assert backbone.patch_embed.proj.weight.shape == (128, 3, 8, 8)
    assert embed(f"usfm:{out}", torch.rand(2, 3, 40, 40)).shape == (2, 128)
    with pytest.raises(BenchError, match="multiples of its patch, 8"):
        embed(f"usfm:{out}", torch.rand(2, 3, 36, 36))
    # Counting changes no bit.
    monkeypatch.setattr(_Run, "counted_step", _Run.train_step)
    plain = pretrain(spec, data, Options(out=tmp_path / "plain.pth", sheet_every=0))
    assert plain.weight_hash == card.weight_hash
    assert read_card(tmp_path / "plain.pth").flops_per_image is None


def test_the_decoder_puts_pixels_of_small_patches_where_they_are():
    model = MaskedAutoencoder("usfm_micro_patch8_64", 16)
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.bias.copy_(torch.arange(64.0))
    rec = model(torch.zeros(1, 1, 16, 16))
    torch.testing.assert_close(rec[0, 0], torch.arange(64.0).view(8, 8).repeat(2, 2))


def test_an_image_of_no_whole_patches_is_refused():
    with pytest.raises(BenchError, match="image_size 36 is not a multiple of the encoder's patch, 8"):
        build_spec(SMALL | {"image_size": 36}, "test")
