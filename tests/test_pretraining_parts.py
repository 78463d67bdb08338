"""Masks, losses and sampling of pre-training, by hand and by the paper's own sums."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from usfm_bench.core.errors import BenchError
from usfm_bench.pretraining.losses import focal_frequency_loss, l1_loss, reconstruction_loss
from usfm_bench.pretraining.masked_images import MaskingSpec
from usfm_bench.pretraining.masking import Draw, DualMasking, annulus_index, annulus_radii
from usfm_bench.pretraining.model import MaskedAutoencoder
from usfm_bench.pretraining.sampling import OrganSampler
from usfm_bench.specs.pretraining import build_spec
from usfm_bench.training.seeding import Stream, torch_generator

SIZE = 32
SPEC = MaskingSpec(patch_size=8, ratio=0.6, base_bandwidth=3, growth=0.5, max_increase=2, protected=2, band_ratio=0.5)


DOMAINS = {"usfm": {}, "spatial": {"bands": False}, "frequency": {"patches": False}}


def masking(method="usfm", size=SIZE, **changes):
    return DualMasking(SPEC.model_copy(update=changes), size, **DOMAINS[method])


def images(n=3, size=SIZE, channels=1, seed=0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def draw_of(module, n=3, seed=0):
    return module.draw(n, torch_generator(seed, Stream.MASKS))


def bands(module, *stopped):
    return torch.tensor([[k in stopped for k in range(module.n_bands)]])


def wave(u, v, size=SIZE):
    """cos of 2 pi (u x / W + v y / H), around 0.5."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (0.5 + 0.4 * torch.cos(2 * math.pi * (u * x + v * y) / size))[None, None]


def test_annuli_grow_by_a_share_up_to_the_largest_increase_and_reach_the_corner():
    # Widths 3, 3 + 1.5, 4.5 + 2 (a half would be 2.25), 6.5 + 2, ...; the corner of 32 px lies at 22.6.
    assert annulus_radii(SPEC, SIZE) == [2, 5, 9.5, 16, 24.5]


def test_every_frequency_outside_the_protected_centre_is_in_one_annulus():
    radii = annulus_radii(SPEC, SIZE)
    index = annulus_index(radii, SIZE)
    for v in range(-SIZE // 2, SIZE // 2):
        for u in range(SIZE // 2 + 1):
            r = math.hypot(u, v)
            expected = 4 if r < 2 else next(k for k in range(4) if radii[k] <= r < radii[k + 1])
            assert index[v % SIZE, u] == expected, (u, v)


def test_a_wave_inside_a_stopped_band_vanishes_and_one_outside_stays():
    module = masking("frequency")
    inside, outside = wave(3, 2), wave(8, 8)  # 3.6 and 11.3 cycles: annuli 0 and 2
    torch.testing.assert_close(module.stop_bands(inside, bands(module, 0)), torch.full_like(inside, 0.5))
    torch.testing.assert_close(module.stop_bands(outside, bands(module, 0)), outside)
    torch.testing.assert_close(module.stop_bands(outside, bands(module, 2)), torch.full_like(outside, 0.5))


def test_the_protected_centre_is_never_stopped():
    module = masking("frequency")
    slow = wave(1, 1)
    torch.testing.assert_close(module.stop_bands(slow, bands(module, *range(module.n_bands))), slow)


def test_the_transform_is_the_papers_sum_with_u_over_width_and_v_over_height():
    image = images(1, 8)[0, 0].double()
    u, v = 3, 5
    total = sum(image[y, x] * np.exp(-2j * math.pi * (u * x / 8 + v * y / 8)) for y in range(8) for x in range(8))
    assert complex(torch.fft.fft2(image)[v, u]) == pytest.approx(complex(total))


def test_half_of_the_spectrum_gives_what_the_whole_would():
    module, batch = masking("frequency"), images(2)
    draw = draw_of(module, 2)
    v = torch.fft.fftfreq(SIZE, 1 / SIZE)
    radius = torch.hypot(v[:, None], v[None, :])
    for image, chosen, result in zip(batch, draw.bands, module.stop_bands(batch, draw.bands), strict=True):
        kept = torch.ones(SIZE, SIZE)
        for k in chosen.nonzero()[:, 0].tolist():
            kept[(radius >= module.radii[k]) & (radius < module.radii[k + 1])] = 0
        whole = torch.fft.ifft2(torch.fft.fft2(image[0]) * kept)
        torch.testing.assert_close(result[0], whole.real, atol=1e-6, rtol=0)
        assert whole.imag.abs().max() < 1e-6


def test_energy_of_the_stopped_and_the_kept_part_add_up():
    module, batch = masking("frequency"), images(2)
    kept = module.stop_bands(batch, draw_of(module, 2).bands)
    stopped = batch - kept
    for whole, one, other in zip(batch, kept, stopped, strict=True):
        assert float((whole**2).sum()) == pytest.approx(float((one**2).sum() + (other**2).sum()), rel=1e-5)


def test_the_magnitude_folds_what_the_real_part_keeps():
    batch = images(1) - 0.5  # as normalised images are, around 0
    plain, folded = masking("frequency"), masking("frequency", magnitude=True)
    chosen = bands(plain, 1)
    real = plain.stop_bands(batch, chosen)
    assert (real < 0).float().mean() > 0.3
    torch.testing.assert_close(folded.stop_bands(batch, chosen), real.abs())


@pytest.mark.parametrize(
    ("ratio", "size", "patch"), [(0.6, 32, 8), (0.5, 48, 16), (0, 32, 8), (1, 32, 8), (0.01, 32, 8)]
)
def test_the_number_of_masked_patches_is_the_ratio_rounded_up(ratio, size, patch):
    module = masking("spatial", size, ratio=ratio, patch_size=patch)
    draw = draw_of(module, 5)
    patches = (size // patch) ** 2
    assert draw.patches.sum(dim=(1, 2)).tolist() == [math.ceil(ratio * patches)] * 5
    assert (
        module(images(5, size), draw).pixels.sum(dim=(1, 2, 3)).tolist() == [math.ceil(ratio * patches) * patch**2] * 5
    )


def test_the_number_of_stopped_annuli_is_the_ratio_rounded_up():
    module = masking("frequency", band_ratio=0.3)
    assert module.n_bands == 4
    assert draw_of(module, 6).bands.sum(dim=1).tolist() == [2] * 6  # 1.2 rounded up


def test_masked_patches_hold_the_mean_of_the_whole_image_and_the_others_are_untouched():
    module, batch = masking("spatial"), images(3, channels=2)
    draw = draw_of(module)
    masked = module(batch, draw)
    for image, result, pixels in zip(batch, masked.images, masked.pixels[:, 0], strict=True):
        for channel in range(2):
            assert (result[channel][pixels] == image[channel].mean()).all()
            assert (result[channel][~pixels] == image[channel][~pixels]).all()


def test_dual_masking_is_band_stopped_outside_the_patches_and_the_mean_inside():
    module, batch = masking("usfm"), images(3)
    draw = draw_of(module)
    masked = module(batch, draw)
    stopped = module.stop_bands(batch, draw.bands)
    expected = torch.where(masked.pixels, batch.mean(dim=(2, 3), keepdim=True), stopped)
    torch.testing.assert_close(masked.images, expected, atol=0, rtol=0)
    assert masked.pixels.float().mean() == pytest.approx(math.ceil(0.6 * 16) / 16)


@pytest.mark.parametrize("method", DOMAINS)
def test_the_ablations_mask_one_domain_alone(method):
    draw = draw_of(masking(method))
    assert bool(draw.patches.any()) == (method != "frequency")
    assert bool(draw.bands.any()) == (method != "spatial")


@pytest.mark.parametrize("method", DOMAINS)
def test_the_order_of_a_batch_changes_no_image(method):
    module, batch = masking(method), images(5)
    draw = draw_of(module, 5)
    order = torch.tensor([3, 0, 4, 2, 1])
    there = module(batch[order], Draw(draw.patches[order], draw.bands[order]))
    torch.testing.assert_close(there.images, module(batch, draw).images[order], atol=0, rtol=0)
    alone = module(batch[2:3], Draw(draw.patches[2:3], draw.bands[2:3]))
    torch.testing.assert_close(alone.images, module(batch, draw).images[2:3], atol=1e-6, rtol=0)


def test_draws_differ_between_images_and_repeat_with_the_seed():
    module = masking()
    one, same, other = draw_of(module, 50), draw_of(module, 50), draw_of(module, 50, seed=1)
    assert (one.patches == same.patches).all()
    assert len({tuple(row.flatten().tolist()) for row in one.patches}) > 40
    assert (one.patches != other.patches).any()
    share = one.patches.float().mean(dim=0)
    assert 0.3 < share.min() < share.max() < 0.9


def by_double_sum(rec, image):
    """Eqs. (12) and (13) with the orthonormal transform, written out."""
    n = len(image)
    error = np.zeros((n, n), complex)
    for v in range(n):
        for u in range(n):
            for y in range(n):
                for x in range(n):
                    turn = np.exp(-2j * math.pi * (u * x / n + v * y / n))
                    error[v, u] += (rec[y, x] - image[y, x]) * turn / n
    size = np.abs(error)
    weight = (size - size.min()) / (size.max() - size.min())
    return (weight * size**2).sum() / n**2


def test_the_focal_frequency_loss_equals_the_written_out_sum():
    rec, image = images(1, 6, seed=1)[0, 0], images(1, 6, seed=2)[0, 0]
    expected = by_double_sum(rec.numpy().astype(float), image.numpy().astype(float))
    assert float(focal_frequency_loss(rec[None, None], image[None, None])) == pytest.approx(expected, rel=1e-5)


def test_the_focal_frequency_loss_is_a_mean_over_images_each_with_weights_of_its_own():
    rec, image = images(3, seed=1), images(3, seed=2)
    rec[1] = image[1] + 10 * (rec[1] - image[1])
    each = [float(focal_frequency_loss(rec[i : i + 1], image[i : i + 1])) for i in range(3)]
    assert float(focal_frequency_loss(rec, image)) == pytest.approx(np.mean(each), rel=1e-5)


def test_no_gradient_passes_through_the_weight():
    image = images(1, 6)
    rec = (image + 0.1 * images(1, 6, seed=3)).requires_grad_()
    focal_frequency_loss(rec, image).backward()
    error = torch.fft.fft2((rec - image).detach(), norm="ortho")
    size = error.abs()
    weight = (size - size.min()) / (size.max() - size.min())
    # d/dx of mean w |F x|^2 with w constant: 2 / n * inverse transform of w F x.
    expected = 2 / 36 * torch.fft.ifft2(weight * error, norm="ortho").real
    torch.testing.assert_close(rec.grad, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_a_perfect_or_evenly_wrong_reconstruction_gives_a_finite_loss(offset):
    image = images(1)
    rec = (image + offset).requires_grad_()
    loss = focal_frequency_loss(rec, image)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rec.grad).all()


def test_the_two_losses_are_of_a_comparable_size_with_the_orthonormal_transform():
    image = torch.zeros(2, 1, 224, 224)
    noise = 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    loss = reconstruction_loss(image + noise, image, 1.0)
    assert float(loss.spatial) == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.02)  # 0.08
    assert 0.001 < float(loss.frequency) < 0.01
    assert float(loss.total) == pytest.approx(float(loss.spatial + loss.frequency))


def test_l1_over_all_and_over_masked_pixels_by_hand():
    image = torch.zeros(1, 1, 2, 2)
    rec = torch.tensor([[[[1.0, 2.0], [3.0, 10.0]]]])
    pixels = torch.tensor([[[[True, False], [True, False]]]])
    assert float(l1_loss(rec, image)) == (1 + 2 + 3 + 10) / 4
    assert float(l1_loss(rec, image, pixels)) == (1 + 3) / 2


def test_the_decoder_puts_each_tokens_pixels_where_its_patch_is():
    model = MaskedAutoencoder("usfm_micro_patch16_224", 32)
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.bias.copy_(torch.arange(256.0))
    rec = model(torch.zeros(1, 1, 32, 32))
    patch = torch.arange(256.0).view(16, 16)
    torch.testing.assert_close(rec[0, 0], patch.repeat(2, 2))


def test_an_unknown_encoder_is_an_error_with_the_nearest():
    with pytest.raises(BenchError, match=r"Did you mean 'usfm_tiny_patch16_224'\?"):
        MaskedAutoencoder("usfm_tny_patch16_224", 32)


ORGANS = ["breast"] * 50 + ["liver"] * 3 + ["heart"] * 7


def test_every_organ_is_drawn_as_often_as_any_other_whatever_its_size():
    drawn = OrganSampler(ORGANS, 0).images(np.arange(300))
    organs, counts = np.unique(np.array(ORGANS)[drawn], return_counts=True)
    assert dict(zip(organs.tolist(), counts.tolist(), strict=True)) == {"breast": 100, "liver": 100, "heart": 100}


def test_an_organs_images_come_once_each_before_any_comes_again():
    drawn = OrganSampler(ORGANS, 0).images(np.arange(150))
    breast = [i for i in drawn if i < 50]
    assert sorted(breast) == list(range(50))
    liver = [i for i in drawn if 50 <= i < 53]
    assert all(sorted(liver[k : k + 3]) == [50, 51, 52] for k in range(0, 48, 3))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.integers(1, 4), st.integers(0, 500))
def test_any_share_of_the_positions_gives_the_images_of_those_positions(seed, world, start):
    positions = np.arange(start, start + 24)
    whole = OrganSampler(ORGANS, seed).images(positions)
    for rank in range(world):
        np.testing.assert_array_equal(OrganSampler(ORGANS, seed).images(positions[rank::world]), whole[rank::world])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "both", "steps": -1}, ["method 'both'", "usfm", "steps"]),
        ({"masking": {"ratio": 1.5}}, ["masking.ratio", "at most 1"]),
        ({"masking": {"band_ratio": -0.1}}, ["masking.band_ratio"]),
        ({"masking": {"base_bandwidth": 1e-17}}, ["base_bandwidth", "at least 1"]),
        ({"masking": {"base_bandwidth": 500}}, ["base_bandwidth 500", "158 cycles"]),
        ({"image_size": 100}, ["image_size 100", "16"]),
        ({"masking": {"patch_size": 48}}, ["224", "masking patch, 48"]),
        ({"method": "frequency", "l1_over": "masked"}, ["l1_over", "masked patches"]),
        ({"steps": -1, "lr": -1}, ["steps", "lr"]),
        ({"datasets": []}, ["datasets"]),
    ],
)
def test_a_faulty_setting_is_named(values, words):
    with pytest.raises(BenchError) as error:
        build_spec({"datasets": ["a"], "steps": 10} | values, "pretrain")
    assert all(word in str(error.value) for word in words), str(error.value)
