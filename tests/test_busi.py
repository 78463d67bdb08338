"""BUSI in its original layout: small copies written here, and the real data where it is present."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.verify import Report, verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.groups import near_duplicate_groups, pixel_hash
from usfm_bench.data.readers.base import read_grey, read_mask
from usfm_bench.data.sample import Sample
from usfm_bench.specs.dataset import load_registry

BUSI = load_registry()["busi"]
SHAPE = (24, 32)
LESION = np.zeros(SHAPE, bool)
LESION[5:12, 8:20] = True


def grey_mask(lesion: np.ndarray = LESION) -> np.ndarray:
    return lesion.astype(np.uint8) * 255


def save(path: Path, pixels: np.ndarray, *flags: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels, flags)
    return path


def add_case(root: Path, case_id: str, *, ending: str = ".png", masks: int = 1, lesion: np.ndarray = LESION) -> Path:
    """Write an image of random pixels and its masks; returns the image's path."""
    folder = root / BUSI.path / case_id.split()[0]
    rng = np.random.default_rng(list(case_id.encode()))
    for suffix in ("_mask", *(f"_mask_{i}" for i in range(1, masks)))[:masks]:
        save(folder / f"{case_id}{suffix}{ending}", grey_mask(lesion))
    return save(folder / f"{case_id}{ending}", rng.integers(0, 256, SHAPE, dtype=np.uint8))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A data root with one case of each class."""
    for case_id in ("benign (1)", "malignant (1)"):
        add_case(tmp_path, case_id)
    add_case(tmp_path, "normal (1)", lesion=np.zeros(SHAPE, bool))
    return tmp_path


def sample(root: Path, case_id: str) -> Sample:
    return next(s for s in open_dataset(BUSI, root).samples if s.case.case_id == case_id)


def ids(root: Path) -> list[str]:
    return [s.case.case_id for s in open_dataset(BUSI, root).samples]


# ---- copies written here ---------------------------------------------------------------------------------------------


def test_several_masks_of_an_image_are_united(copy):
    path = add_case(copy, "benign (2)")
    corners = np.zeros((2, *SHAPE), bool)
    corners[0, :3, :3], corners[1, -2:, -4:] = True, True
    for i, corner in enumerate(corners, start=1):
        save(path.with_name(f"benign (2)_mask_{i}.png"), grey_mask(corner))
    np.testing.assert_array_equal(sample(copy, "benign (2)").mask, LESION | corners[0] | corners[1])


def opaque(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)])


@pytest.mark.parametrize(
    ("write", "depth_and_kind"),
    [
        (lambda path: save(path, grey_mask()), (8, 0)),
        (lambda path: save(path, np.dstack([grey_mask()] * 3)), (8, 2)),
        (lambda path: save(path, opaque(grey_mask())), (8, 6)),
        (lambda path: save(path, grey_mask(), cv2.IMWRITE_PNG_BILEVEL, 1), (1, 0)),
    ],
    ids=["grey", "RGB", "RGBA that is opaque everywhere", "1 bit"],
)
def test_masks_of_every_kind_of_png_read_the_same(copy, write: Callable[[Path], Path], depth_and_kind):
    path = write(add_case(copy, "benign (2)").with_name("benign (2)_mask.png"))
    assert tuple(path.read_bytes()[24:26]) == depth_and_kind  # bit depth and colour type in the PNG's header
    np.testing.assert_array_equal(sample(copy, "benign (2)").mask, LESION)


def test_a_colour_copy_of_a_grey_image_has_the_same_pixels(copy):
    path = add_case(copy, "benign (2)")
    grey = sample(copy, "benign (2)").image
    save(path, np.dstack([grey] * 3))
    np.testing.assert_array_equal(sample(copy, "benign (2)").image, grey)


def test_a_normal_image_has_an_empty_mask(copy):
    assert not sample(copy, "normal (1)").mask.any()


def test_numbers_may_have_gaps_and_are_read_in_their_order(copy):
    for number in (10, 3, 200):
        add_case(copy, f"benign ({number})")
    assert ids(copy)[:4] == ["benign (1)", "benign (3)", "benign (10)", "benign (200)"]


def test_endings_may_be_upper_case(copy):
    add_case(copy, "malignant (5)", ending=".PNG")
    np.testing.assert_array_equal(sample(copy, "malignant (5)").mask, LESION)


def test_files_that_are_no_png_are_passed_over(copy):
    (copy / BUSI.path / "benign" / "Thumbs.db").write_bytes(b"x")
    (copy / BUSI.path / "read me.txt").write_text("x")
    assert ids(copy) == ["benign (1)", "malignant (1)", "normal (1)"]


def test_a_partial_copy_says_how_much_of_the_data_set_it_is(copy):
    notes = open_dataset(BUSI, copy).notes
    assert notes == ("found 3 of 780 published images",)


def test_a_case_left_out_by_name_is_noted_with_its_reason(copy):
    add_case(copy, "benign (433)")
    assert "benign (433)" not in ids(copy)
    reason = "same pixels as malignant (145), with the contradictory label"
    assert open_dataset(BUSI, copy).notes[1:] == (f"left out benign (433): {reason}",)


def test_a_data_set_may_take_some_of_the_classes(copy):
    lesions = open_dataset(load_registry()["busi-lesion"], copy)
    assert [s.case.label for s in lesions.samples] == ["benign", "malignant"]


def cut_in_half(root: Path) -> Path:
    path = add_case(root, "benign (7)")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def without_bytes(root: Path) -> Path:
    path = add_case(root, "malignant (7)")
    path.write_bytes(b"")
    return path


def mask_of_another_size(root: Path) -> Path:
    return save(add_case(root, "normal (7)").with_name("normal (7)_mask.png"), np.zeros((9, 9), np.uint8))


def image_without_a_mask(root: Path) -> Path:
    return add_case(root, "benign (8)", masks=0)


def empty_class(root: Path) -> Path:
    folder = root / BUSI.path / "normal"
    for path in folder.iterdir():
        path.unlink()
    return folder


FAULTS = [cut_in_half, without_bytes, mask_of_another_size, image_without_a_mask, empty_class]


@pytest.mark.parametrize("spoil", FAULTS)
def test_a_fault_is_reported_with_its_path(copy, spoil):
    path = spoil(copy)
    with pytest.raises(DataError) as error:
        open_dataset(BUSI, copy)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "spoils", [FAULTS[:3], FAULTS[3:], [*FAULTS[:2], *FAULTS[3:]]], ids=["files", "folder", "both"]
)
def test_all_faults_are_in_one_message(copy, spoils):
    paths = [spoil(copy) for spoil in spoils]
    with pytest.raises(DataError) as error:
        open_dataset(BUSI, copy)
    assert sorted(line.split(": ")[0] for line in str(error.value).splitlines()) == sorted(map(str, paths))


@pytest.mark.parametrize("spoil", FAULTS)
def test_verifying_reports_a_fault_without_raising(copy, spoil):
    path = spoil(copy)
    (fault,) = verify_dataset(BUSI, copy).faults
    assert str(path) in fault


# ---- the real data ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(busi_root: Path) -> Report:
    return verify_dataset(BUSI, busi_root)


@pytest.fixture(scope="module")
def busi(busi_root: Path) -> Dataset:
    return open_dataset(BUSI, busi_root)


def test_the_real_data_are_as_published(report):
    published = {
        "images found": 780,
        "images published": 780,
        "images by class": {"benign": 437, "malignant": 210, "normal": 133},
        "distinct sizes": 639,
        "square images": 0,
        "images with several masks": 17,
        "images without a lesion": 133,
        "largest group": 4,
    }
    assert {name: report.facts[name] for name in published} == published


def test_the_real_data_have_no_fault(report):
    assert report.faults == []


def test_the_contradictory_pair_is_left_out_of_the_real_data(busi):
    assert len(busi) == 778
    assert not {"benign (433)", "malignant (145)"} & {s.case.case_id for s in busi.samples}
    assert np.bincount(busi.labels).tolist() == [436, 209, 133]


def test_the_real_data_have_the_hash_of_the_measured_records(busi):
    assert busi.content_hash == "4b18188a538aff4f312f60d982cb602bc173eccf4936f80ef2015d9875f9d0ac"


def test_exactly_the_normal_images_have_no_lesion(busi):
    assert {(s.case.label == "normal", s.mask.any()) for s in busi.samples} == {(True, False), (False, True)}
    assert sum(s.mask.any() for s in busi.samples) == 437 + 210 - 2


def test_the_two_rgba_masks_are_not_read_by_their_opaque_alpha(busi_root):
    masks = sorted((busi_root / BUSI.path).rglob("*_mask*.png"))
    with_alpha = [path for path in masks if path.read_bytes()[25] == 6]  # PNG's colour type
    assert [path.name for path in with_alpha] == ["benign (4)_mask_1.png", "benign (54)_mask_1.png"]
    for path in with_alpha:
        assert 0 < read_mask((path,), read_grey(path).shape).mean() < 0.5


def test_every_image_of_the_group_file_is_in_the_real_data(busi, busi_root):
    left_out = [busi_root / BUSI.path / case_id.split()[0] / f"{case_id}.png" for case_id in BUSI.exclude]
    twins = {pixel_hash(read_grey(path)) for path in left_out}
    assert len(twins) == 1  # the reason for leaving them out: the same pixels
    assert set(near_duplicate_groups(BUSI)) <= twins | {s.pixel_hash for s in busi.samples}


def test_listed_near_duplicates_of_the_real_data_share_a_group(busi):
    listed = near_duplicate_groups(BUSI)
    pairs = {(listed[s.pixel_hash], s.group_id) for s in busi.samples if s.pixel_hash in listed}
    assert len(pairs) == len({group for group, _ in pairs}) == len({group_id for _, group_id in pairs})
