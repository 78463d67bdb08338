"""What dual masking costs beside a training step, and beside the usual way: NumPy in loader workers, image by image."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from usfm_bench.pretraining.losses import reconstruction_loss
from usfm_bench.pretraining.masked_images import MaskingSpec
from usfm_bench.pretraining.masking import DualMasking
from usfm_bench.pretraining.model import MaskedAutoencoder
from usfm_bench.training.seeding import Stream, torch_generator

BATCH, SIZE = 32, 224
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MODEL = "usfm_base_patch16_224" if DEVICE == "cuda" else "usfm_tiny_patch16_224"


@pytest.fixture(scope="module")
def images():
    return torch.rand(BATCH, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).to(DEVICE)


@pytest.fixture(scope="module")
def masking():
    return DualMasking(MaskingSpec(), SIZE).to(DEVICE)


def synchronise():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def test_dual_masking_of_a_batch(benchmark, images, masking):
    def mask():
        masking(images, masking.draw(BATCH, torch_generator(0, Stream.MASKS)))
        synchronise()

    benchmark(mask)


def test_training_step_without_masking(benchmark, images):
    model = MaskedAutoencoder(MODEL, SIZE).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step():
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            rec = model(images)
        reconstruction_loss(rec, images, 1.0).total.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronise()

    benchmark.pedantic(step, rounds=3, warmup_rounds=1)


def mask_one(image, bank, rng, spec):
    """One image as data-loader workers usually do it: complex transform, shift, product of masks, shift back."""
    chosen = rng.permutation(len(bank))[: int(np.ceil(spec.band_ratio * len(bank)))]
    kept = np.prod(bank[chosen], axis=0)
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    stopped = np.fft.ifft2(np.fft.ifftshift(spectrum * kept)).real
    side = SIZE // spec.patch_size
    masked = np.zeros(side**2, bool)
    masked[rng.permutation(side**2)[: int(np.ceil(spec.ratio * side**2))]] = True
    pixels = masked.reshape(side, side).repeat(spec.patch_size, 0).repeat(spec.patch_size, 1)
    return np.where(pixels, image.mean(), stopped)


def test_numpy_masking_of_a_batch_one_image_at_a_time(benchmark, images, masking):
    v = np.arange(SIZE) - SIZE // 2
    radius = np.hypot(v[:, None], v[None, :])
    bank = np.stack([~((radius >= low) & (radius < high)) for low, high in pairwise(masking.radii)])
    batch, rng = images[:, 0].cpu().numpy(), np.random.default_rng(0)
    benchmark(lambda: [mask_one(image, bank, rng, masking.spec) for image in batch])
