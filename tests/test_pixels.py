"""Files of every kind become the picture that they show; what would be lost in silence is a fault or a note."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.near_duplicates import fingerprints
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.mask_likeness import unlikely_masks
from usfm_bench.data.readers.decode import read_grey, read_pixels
from usfm_bench.data.readers.mask_values import foreground
from usfm_bench.data.resize import resample, resize_image, resize_mask, shrink
from usfm_bench.data.sample import Case, Sample
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.tasks.segmentation import to_native

SHAPE = (24, 32)
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


def picture(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def rectangle(shape=SHAPE, top=4, bottom=16, left=6, right=24) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def save(path: Path, pixels: np.ndarray, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path, **how)
    return path


def entry(layout: str, options: dict | None = None, **more) -> DatasetSpec:
    facts = {"version": 1, "title": "mine", "tasks": ("segmentation",), "organ": "breast", "path": "mine"}
    return DatasetSpec(name="mine", layout=layout, options=options or {}, **facts | more)


PAIRS = {"images": "{id}.png", "masks": "{id}_mask.png"}


def pairs(root: Path, mask: np.ndarray, n: int = 3) -> Path:
    for i in range(n):
        save(root / "mine" / f"{i}.png", picture(i, mask.shape[:2]))
        save(root / "mine" / f"{i}_mask.png", mask)
    return root


def opened(root: Path, options: dict | None = None, layout: str = "masks", **more) -> Dataset:
    return open_dataset(entry(layout, PAIRS | (options or {}) if layout == "masks" else options, **more), root)


# ---- levels of masks -------------------------------------------------------------------------------------------------


def test_an_outlined_palette_mask_does_not_keep_its_border_alone(tmp_path):
    index = np.where(rectangle(), 1, 0).astype(np.uint8)
    index[cv2.dilate(index, np.ones((3, 3))) != index] = 255
    image = Pillow.fromarray(index).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 253 * 3 + [224, 224, 192])
    image.save(tmp_path / "voc.png")
    # dark red has a luminance of 0.299 * 128 = 38
    with pytest.raises(
        DataError, match=r"voc\.png: levels 0, 38, 2\d\d; of these, 38 would be no lesion.*equals: \[38\]"
    ):
        foreground(tmp_path / "voc.png", 128)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("low", [100, 64])
def test_an_area_below_the_threshold_is_named(tmp_path, low, ending):
    mask = np.zeros((80, 80), np.uint8)
    mask[5:40, 5:40], mask[45:75, 45:75] = low, 255
    path = save(tmp_path / f"two{ending}", mask)
    with pytest.raises(DataError, match=r"would be no lesion, since 128 of 255 are needed"):
        foreground(path, 128)


def test_the_least_level_is_an_area_too_and_options_say_what_is_meant(tmp_path):
    from usfm_bench.data.readers.mask_values import AtLeast, Levels

    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 2:6], mask[10:20, 10:20] = 1, 255
    path = save(tmp_path / "mask.png", mask)
    with pytest.raises(DataError, match=r"levels 0, 1, 255; of these, 1 would be no lesion"):
        foreground(path, 128)
    np.testing.assert_array_equal(foreground(path, "nonzero"), mask > 0)
    np.testing.assert_array_equal(foreground(path, Levels(equals=(1,))), mask == 1)
    np.testing.assert_array_equal(foreground(path, AtLeast(at_least=128)), mask == 255)
    deep = save(tmp_path / "deep.png", mask.astype(np.uint16) * 257)
    with pytest.raises(DataError, match="of these, 257 would be no lesion"):
        foreground(deep, 128)


@given(st.integers(0, 999), st.floats(0.3, 12), st.integers(30, 95), st.sampled_from([".png", ".jpg", ".webp"]))
@settings(max_examples=40, deadline=None)
def test_soft_and_lossy_masks_are_no_areas(tmp_path_factory, seed, sigma, quality, ending):
    rng = np.random.default_rng(seed)
    mask = np.zeros((160, 200), np.uint8)
    axes = rng.integers(20, 50, 2).tolist()
    cv2.ellipse(mask, (100, 80), axes, float(rng.integers(0, 180)), 0, 360, 255, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), sigma) if seed % 2 else mask
    how = {"quality": quality} if ending != ".png" else {}
    path = save(tmp_path_factory.mktemp("m") / f"mask{ending}", soft, **how)
    found = foreground(path, 128)
    assert 2 * (found & (soft >= 128)).sum() / (found.sum() + (soft >= 128).sum()) > 0.98


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_an_anti_aliased_edge_is_no_area(tmp_path, factor):
    large = np.zeros((100 * factor, 100 * factor), np.uint8)
    cv2.circle(large, (50 * factor, 50 * factor), 30 * factor, 255, -1)
    edge = cv2.resize(large, (100, 100), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(foreground(save(tmp_path / "mask.png", edge), 128), edge >= 128)


# ---- transparency ----------------------------------------------------------------------------------------------------


def rgba(colour: object, alpha: object) -> np.ndarray:
    pixels = np.zeros((*SHAPE, 4), np.uint8)
    pixels[..., :3] = np.asarray(colour)[..., None] if np.ndim(colour) == 2 else colour
    pixels[..., 3] = alpha
    return pixels


LOSSLESS = {".png": {}, ".tif": {}, ".webp": {"lossless": True, "exact": True}}
LESION = np.where(rectangle(), 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "alpha"),
    [
        (LESION, 255),  # opaque
        (LESION, 77),  # equally transparent
        (LESION, LESION),  # white on nothing
        (255, LESION),  # one colour: transparency is the mask
        (0, LESION),
    ],
)
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_transparency_is_never_dropped_from_a_mask(tmp_path, colour, alpha, ending):
    path = save(tmp_path / f"mask{ending}", rgba(colour, alpha), **LOSSLESS[ending])
    np.testing.assert_array_equal(foreground(path, 128), rectangle())


def test_white_that_is_transparent_is_no_lesion_or_a_fault(tmp_path):
    around = np.where(rectangle(), 0, 255).astype(np.uint8)  # black lesion on transparent white
    with pytest.raises(DataError, match=r"bad\.png: is lesion by its colours only where it is transparent"):
        foreground(save(tmp_path / "bad.png", rgba(around, LESION)), 128)
    with pytest.raises(DataError, match="is wholly transparent, over colours that differ"):
        foreground(save(tmp_path / "none.png", rgba(LESION, 0)), 128)
    assert not foreground(save(tmp_path / "empty.png", rgba(255, 0)), 128).any()
    grey = np.stack([np.full(SHAPE, 255, np.uint8), LESION], -1)
    np.testing.assert_array_equal(foreground(save(tmp_path / "la.png", grey), 128), rectangle())


def test_what_is_transparent_in_an_image_is_dark(tmp_path):
    path = save(tmp_path / "image.png", rgba(picture(), LESION))
    np.testing.assert_array_equal(read_grey(path), np.where(rectangle(), picture(), 0))
    np.testing.assert_array_equal(read_grey(save(path, rgba(picture(), 0))), picture())
    for ending in (".tif", ".webp"):
        half = save(tmp_path / f"half{ending}", rgba(picture(), np.where(rectangle(), 255, 128)), **LOSSLESS[ending])
        assert np.abs(read_grey(half) - np.where(rectangle(), picture(), picture() * (128 / 255))).max() <= 1
    with pytest.raises(DataError, match="the picture is its transparency"):
        read_grey(save(path, rgba(0, picture())))


# ---- pages, orientation, formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tif", ".gif", ".png", ".webp"])
def test_pages_beyond_the_first_are_never_dropped(tmp_path, ending):
    frames = [Pillow.fromarray(picture(i)) for i in range(3)]
    frames[0].save(tmp_path / f"many{ending}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="holds 3 pages or frames; one picture a file is read"):
        read_pixels(tmp_path / f"many{ending}")


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_tiff_with_transparency_is_turned_once(tmp_path, orientation):
    path = save(tmp_path / "x.tif", rgba(picture(), 255), tiffinfo={274: orientation})
    np.testing.assert_array_equal(read_grey(path), UPRIGHT[orientation](picture()))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_pictures_are_turned_as_their_orientation_says(tmp_path, ending, orientation):
    exif = Pillow.Exif()
    exif[274] = orientation
    smooth = cv2.GaussianBlur(picture(), (0, 0), 3)
    how = {"lossless": True} if ending == ".webp" else {"quality": 100} if ending == ".jpg" else {}
    how |= {"tiffinfo": {274: orientation}} if ending == ".tif" else {"exif": exif}
    found = read_grey(save(tmp_path / f"x{ending}", smooth, **how))
    np.testing.assert_allclose(found.astype(int), UPRIGHT[orientation](smooth), atol=3)


def test_verify_counts_turned_images_whose_masks_state_no_orientation(tmp_path):
    exif = Pillow.Exif()
    exif[274] = 6
    pairs(tmp_path, rectangle() * np.uint8(255))
    save(tmp_path / "mine" / "1.png", picture(1).T, exif=exif)
    facts = verify_dataset(entry("masks", PAIRS), tmp_path).facts
    assert facts["turned by their orientation"] == "1 images; 1 of their 1 masks state none: see that they fit"


@pytest.mark.parametrize("deep", [False, True])
def test_white_is_zero_is_inverted(tmp_path, deep):
    levels = picture().astype(np.uint16) * 257 if deep else picture()
    stored = 65535 - levels if deep else levels  # Pillow inverts 8 bits when it writes, and does not 16
    path = save(tmp_path / "x.tif", stored, tiffinfo={262: 0})
    np.testing.assert_array_equal(read_grey(path), picture())


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".webp", ".gif", ".jp2", ".pgm", ".pnm", ".BMP", ".ppm"])
def test_more_formats_are_read(tmp_path, ending):
    levels = cv2.GaussianBlur(picture(), (0, 0), 3)
    pixels = np.stack([levels] * 3, -1) if ending == ".ppm" else levels
    how = {"lossless": True} if ending == ".webp" else {"irreversible": False} if ending == ".jp2" else {}
    save(tmp_path / "mine" / "a" / f"x{ending}", pixels, **how)
    (sample,) = open_dataset(entry("imagefolder", tasks=("classification",)), tmp_path).samples
    np.testing.assert_allclose(sample.image.astype(int), levels, atol=6 if "j" in ending.lower() else 0)


@pytest.mark.parametrize(("form", "most"), [("P2", 15), ("P2", 255), ("P5", 100), ("P5", 4095), ("P5", 65535)])
def test_the_range_that_a_pgm_states_is_its_range(tmp_path, form, most):
    levels = np.arange(48).reshape(6, 8) * most // 47
    body = " ".join(map(str, levels.ravel())).encode() if form == "P2" else levels.astype(">u2" if most > 255 else "u1")
    (tmp_path / "x.pgm").write_bytes(f"{form}\n8 6\n{most}\n".encode() + (body if form == "P2" else body.tobytes()))
    np.testing.assert_allclose(read_grey(tmp_path / "x.pgm").astype(int), levels * 255 / most, atol=1)


def test_files_passed_over_are_counted(tmp_path):
    for name in ("a/1.png", "b/1.png", "c/1.png", "loose.png"):
        save(tmp_path / "mine" / name, picture(len(name)))
    for name in ("a/1.heic", "a/2.HEIC", "b/x.dcm", "b/y.nii.gz", "b/notes.txt"):
        (tmp_path / "mine" / name).write_bytes(b"x")
    spec = entry("imagefolder", tasks=("classification",), classes=("a", "b"))
    notes = [
        "4 files were not read: 1 with the ending .dcm, 2 with the ending .heic, 1 with the ending .nii.gz",
        "2 images of no class's folder were not read: 1 in '.', 1 in 'c'",
    ]
    assert list(open_dataset(spec, tmp_path).notes) == verify_dataset(spec, tmp_path).facts["notes"] == notes


def test_files_that_no_pattern_fits_are_counted(tmp_path):
    pairs(tmp_path, rectangle() * np.uint8(255))
    save(tmp_path / "mine" / "other.bmp", picture())
    assert opened(tmp_path).notes == ("1 files were not read, since no pattern fits them: 1 with the ending .bmp",)
    assert opened(tmp_path, {"ignore": "{id}.bmp"}).notes == ()


# ---- bits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "said"), [(10, 10), (12, 12), (14, 14), (8, 8), (11, 12)])
def test_fewer_bits_in_16_are_noted_and_an_option_reads_them(tmp_path, bits, said):
    for i in range(3):
        deep = picture(i).astype(np.uint16) << (bits - 8)
        deep[0, 0] = 2**bits - 1
        save(tmp_path / "mine" / f"{i}.png", deep)
        save(tmp_path / "mine" / f"{i}_mask.png", rectangle() * np.uint8(255))
    (note,) = opened(tmp_path).notes
    assert f"3 images of 16 bits reach level {2**bits - 1} of 65535 at most" in note
    assert note.endswith(f"such as `bits: {said}`")
    data = opened(tmp_path, {"bits": bits})
    assert data.notes == ()
    np.testing.assert_array_equal(data.samples[1].image[1:], picture(1)[1:])
    if bits > 8:
        with pytest.raises(DataError, match=rf"0\.png: has the level {2**bits - 1}, which is more than 8 bits hold"):
            opened(tmp_path, {"bits": 8})


def test_16_full_bits_are_not_noted(tmp_path):
    pairs(tmp_path, rectangle() * np.uint8(255))
    save(tmp_path / "mine" / "0.png", picture().astype(np.uint16) * 257)
    assert opened(tmp_path).notes == ()


# ---- masks of any scale, and unlikely ones ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(420, 420), (500, 500), (90, 90), (128, 128), (512, 512)])
def test_masks_of_any_scale_are_an_option_and_are_counted(tmp_path, shape):
    grid = np.indices(shape) / np.array(shape)[:, None, None]
    disc = np.hypot(*(grid - 0.5)) < 0.3
    save(tmp_path / "mine" / "0.png", picture(0, (128, 128)))
    save(tmp_path / "mine" / "0_mask.png", disc * np.uint8(255))
    whole = shape in ((128, 128), (512, 512))
    if not whole:
        with pytest.raises(
            DataError, match=r"image 128 x 128\. Where masks may be of any scale, say `any_scale: true`"
        ):
            opened(tmp_path)
    data = opened(tmp_path, {"any_scale": True})
    assert data.samples[0].mask.mean() == pytest.approx(disc.mean(), abs=0.003)
    assert (
        [note for note in data.notes if "at any scale" in note] == []
        if whole
        else ["1 masks of another size resampled to their image's, by area, at any scale"]
    )


def test_any_scale_does_not_allow_other_proportions(tmp_path):
    save(tmp_path / "mine" / "0.png", picture(0, (128, 128)))
    save(tmp_path / "mine" / "0_mask.png", np.zeros((420, 300), np.uint8))
    with pytest.raises(DataError, match=r"mask is 300 x 420 px, its image 128 x 128\.$"):
        opened(tmp_path, {"any_scale": True})


def sample(name: str, mask: np.ndarray) -> Sample:
    return Sample(Case(name), picture(0, mask.shape), mask)


def test_masks_that_cannot_be_lesions_are_named():
    lesion, empty, full = rectangle(), np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    large = rectangle(SHAPE, 0, 22, 0, 30)  # touches two borders alone
    found = unlikely_masks([sample(n, m) for n, m in [("a", lesion), ("b", ~lesion), ("c", empty), ("d", large)]])
    assert (found.inverted, found.full, found.masks, found.most) == (["b"], [], 3, False)
    assert unlikely_masks([sample("x", full), sample("y", lesion)]).most
    assert not unlikely_masks([sample("x", empty)]).most


def test_verify_refuses_a_data_set_of_inverted_masks_and_notes_a_single_one(tmp_path):
    pairs(tmp_path, ~rectangle() * np.uint8(255))
    assert "3 of 3 masks cover more than half" in verify_dataset(entry("masks", PAIRS), tmp_path).faults[0]
    for i in (0, 1):
        save(tmp_path / "mine" / f"{i}_mask.png", rectangle() * np.uint8(255))
    report = verify_dataset(entry("masks", PAIRS), tmp_path)
    assert report.faults == []
    assert "1 of 3 masks cover more than half of their image" in report.facts["notes"][0]


# ---- resizing --------------------------------------------------------------------------------------------------------


def weights(n: int, m: int) -> np.ndarray:
    """(m, n) shares of each of n old pixels in each of m new ones."""
    edges = np.arange(m + 1) * n / m
    old = np.arange(n)
    return np.clip(np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old), 0, None) * m / n


@given(st.integers(2, 90), st.integers(2, 90), st.integers(2, 40), st.integers(2, 40), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_areas_are_exact_means_whichever_side_grows(height, width, new_height, new_width, seed):
    levels = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    exact = weights(height, new_height) @ levels @ weights(width, new_width).T
    np.testing.assert_allclose(resample(levels, (new_height, new_width), cv2.INTER_AREA), exact, atol=1e-5)
    mask = levels < 0.4
    share = weights(height, new_height) @ mask @ weights(width, new_width).T
    clear = np.abs(share - 0.5) > 1e-5
    np.testing.assert_array_equal(resize_mask(mask, (new_height, new_width))[clear], (share >= 0.5)[clear])


@given(st.floats(-3.2, 3.2), st.integers(60, 900), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_perfect_prediction_scores_near_1_at_any_proportion(log_ratio, area_side, seed):
    height, width = max(8, int(area_side * np.exp(log_ratio / 2))), max(8, int(area_side * np.exp(-log_ratio / 2)))
    rng = np.random.default_rng(seed)
    y, x = np.indices((height, width)) / np.array([height, width])[:, None, None]
    centre, radius = rng.uniform(0.35, 0.65, 2), rng.uniform(0.2, 0.33, 2)
    mask = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < 1
    native = to_native(resize_mask(mask, 64).astype(np.float32), mask.shape)
    assert 2 * (native & mask).sum() / (native.sum() + mask.sum()) > 0.93


def test_stripes_across_a_long_picture_are_averaged():
    stripes = np.tile(np.array([0, 200], np.uint8), (16, 256))  # (16, 512)
    np.testing.assert_allclose(resize_image(stripes, 64), 100, atol=1)
    taller = resample(stripes, (64, 512), cv2.INTER_AREA)
    np.testing.assert_allclose(fingerprints([taller]).coefficients, fingerprints([stripes]).coefficients, atol=1e-2)


def test_a_line_of_a_picture_can_be_shrunk():
    assert shrink(np.zeros((3, 5000), np.uint8), 256).shape == (1, 256)
    assert shrink(picture(), 256).shape == SHAPE


def test_an_unreadable_header_is_the_decoders_business(tmp_path):
    stream = io.BytesIO()
    Pillow.fromarray(picture()).save(stream, "GIF")
    (tmp_path / "half.gif").write_bytes(stream.getvalue()[:-300])
    with pytest.raises(DataError, match=r"half\.gif: truncated, or not an image"):
        read_pixels(tmp_path / "half.gif")
