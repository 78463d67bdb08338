"""Data sets written in their true layouts and encodings come back as what went in; faults name their files."""

import gzip
import io
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydantic import TypeAdapter
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset, open_reader
from usfm_bench.data.readers import READERS
from usfm_bench.data.readers.files import MAX_PIXELS, read_grey
from usfm_bench.data.readers.hc18 import fill_outline
from usfm_bench.data.readers.mask_values import Fit, Values, foreground, read_mask, same_scale
from usfm_bench.data.readers.patterns import compile_pattern
from usfm_bench.data.readers.volumes import read_picture
from usfm_bench.data.sample import Spacing
from usfm_bench.specs.dataset import DatasetSpec, load_registry

SHAPE = (24, 32)


def entry(layout: str, options: dict | None = None, **more) -> DatasetSpec:
    facts = {"version": 1, "title": "mine", "tasks": ("segmentation",), "organ": "breast", "path": "mine"}
    return DatasetSpec(name="mine", layout=layout, options=options or {}, **facts | more)


def opened(root: Path, layout: str, options: dict | None = None, **more) -> Dataset:
    return open_dataset(entry(layout, options, **more), root)


def faults_of(root: Path, layout: str, options: dict | None = None, **more) -> list[str]:
    with pytest.raises(DataError) as error:
        opened(root, layout, options, **more)
    faults = str(error.value).split("\n")
    assert set(verify_dataset(entry(layout, options, **more), root).faults) >= set(faults)
    return faults


def picture(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def blob(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A mask in {0, 255} with an upright rectangle."""
    mask = np.zeros(shape, np.uint8)
    mask[4 + seed % 3 : 15, 6 : 20 + seed % 5] = 255
    return mask


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Pillow.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **how)
    return path


def by_id(data: Dataset) -> dict:
    return {sample.case.case_id: sample for sample in data.samples}


# ---- encodings -------------------------------------------------------------------------------------------------------


MODES = [(mode, ending) for ending in (".png", ".tif", ".BMP") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]


@pytest.mark.parametrize(("mode", "ending"), [pair for pair in MODES if pair != ("LA", ".BMP")])
def test_a_mask_is_the_same_in_every_lossless_mode(tmp_path, mode, ending):
    path = save(tmp_path / f"Größe 1{ending}", blob(), mode)
    np.testing.assert_array_equal(foreground(path, 128), blob() > 0)
    np.testing.assert_array_equal(read_grey(path), blob())


def test_a_mask_of_16_bits_begins_at_half_of_its_range(tmp_path):
    deep = np.array([[0, 127 * 256 + 255, 128 * 256, 65535]], np.uint16)
    assert foreground(save(tmp_path / "deep.png", deep), 128).tolist() == [[False, False, True, True]]


def test_a_palette_is_applied_before_levels_are_compared(tmp_path):
    image = Pillow.fromarray(np.array([[0, 1, 2]], np.uint8), mode="L").convert("P")
    image.putpalette([0, 0, 0, 0, 255, 0, 255, 255, 255])
    image.save(tmp_path / "palette.png")
    # green has a luminance of 0.587 * 255 = 149.7
    assert foreground(tmp_path / "palette.png", 150).tolist() == [[False, True, True]]
    assert foreground(tmp_path / "palette.png", 151).tolist() == [[False, False, True]]


def test_a_jpeg_mask_is_cut_at_half(tmp_path):
    path = save(tmp_path / "mask.JPG", blob(), quality=75)
    assert len(np.unique(read_grey(path))) > 2
    np.testing.assert_array_equal(foreground(path, 128), blob() > 0)


def values(rule: object) -> Values:
    return TypeAdapter(Values).validate_python(rule)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (100, [0, 0, 0, 1, 1]),
        ("nonzero", [0, 1, 1, 1, 1]),
        ({"equals": [2]}, [0, 0, 1, 0, 0]),
        ({"equals": [1, 200]}, [0, 1, 0, 0, 1]),
    ],
)
def test_the_entry_says_which_levels_are_the_lesion(tmp_path, rule, expected):
    path = save(tmp_path / "mask.png", np.array([[0, 1, 2, 100, 200]], np.uint8))
    assert foreground(path, values(rule)).astype(int).tolist() == [expected]


@pytest.mark.parametrize("rule", [0, 256, "most", {"equals": []}, {"equal": [1]}, {"colours": {"red": [256, 0, 0]}}])
def test_a_mask_rule_that_means_nothing_is_refused(tmp_path, rule):
    with pytest.raises(DataError, match=r"Dataset 'mine': options\.values"):
        open_reader(entry("masks", {"images": "{id}.png", "values": rule}), tmp_path)


def test_a_mask_of_levels_0_and_1_is_not_silently_empty(tmp_path):
    path = save(tmp_path / "mask.png", blob() // 255)
    with pytest.raises(DataError, match=r"mask\.png: levels 0, 1, none of which reaches 128 .* `values: nonzero`"):
        foreground(path, 128)
    np.testing.assert_array_equal(foreground(path, "nonzero"), blob() > 0)


def test_a_black_mask_is_an_empty_one(tmp_path):
    assert not foreground(save(tmp_path / "black.png", np.zeros(SHAPE, np.uint8)), 128).any()


def test_a_third_level_where_two_are_declared_is_named(tmp_path):
    mask = blob() // 255 * 7
    assert foreground(save(tmp_path / "two.png", mask), "two").sum() == (mask > 0).sum()
    mask[0, 0] = 3
    with pytest.raises(DataError, match=r"three\.png: levels 0, 3, 7; the entry declares two"):
        foreground(save(tmp_path / "three.png", mask), "two")


# ---- masks of another size -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "image", "same"),
    [
        ((24, 32), (48, 64), True),
        ((72, 96), (24, 32), True),
        ((24, 32), (48, 96), False),  # factors 2 and 3
        ((24, 32), (36, 48), False),  # factor 1.5
        ((500, 400), (1001, 800), True),  # half, rounded
        ((510, 408), (500, 400), True),  # 2 %
        ((515, 412), (500, 400), False),  # 3 %
        ((508, 400), (500, 400), False),  # 1.6 % of one side alone
        ((501, 400), (500, 400), True),  # a pixel
        ((100, 200), (200, 100), False),
    ],
)
def test_sizes_of_one_scale(mask, image, same):
    assert same_scale(mask, image) is same
    assert same_scale(image, mask) is same


@given(st.integers(8, 40), st.integers(8, 40), st.integers(2, 4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_mask_of_twice_the_size_comes_back_pixel_for_pixel(tmp_path_factory, height, width, factor, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    assume(mask.any())
    large = np.kron(mask, np.ones((factor, factor))).astype(np.uint8) * 255
    path, fit = save(tmp_path_factory.mktemp("m") / "mask.png", large), Fit()
    np.testing.assert_array_equal(read_mask((path,), mask.shape, fit=fit), mask)
    np.testing.assert_array_equal(read_mask((save(path, mask.astype(np.uint8) * 255),), large.shape), large > 0)
    assert fit.by_nearest == [path]


def test_an_anti_aliased_mask_is_cut_before_it_is_resampled(tmp_path):
    soft = cv2.GaussianBlur(np.kron(blob(), np.ones((3, 3), np.uint8)), (5, 5), 0)
    path = save(tmp_path / "soft.png", soft)
    np.testing.assert_array_equal(read_mask((path,), SHAPE), (soft >= 128)[1::3, 1::3])


def test_the_notes_count_resampled_masks(tmp_path):
    root = tmp_path / "mine"
    for name, factor in [("a", 1), ("b", 2), ("c", 3)]:
        save(root / f"{name}.png", picture(factor))
        save(root / f"{name}_mask.png", np.kron(blob(), np.ones((factor, factor), np.uint8)))
    data = opened(tmp_path, "masks", {"images": "{id}.png", "masks": "{id}_mask.png"})
    assert data.notes == ("2 masks of another size resampled to their image's, by nearest neighbour",)
    assert all((sample.mask == (blob() > 0)).all() for sample in data.samples)


# ---- patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("Images/bus_{id}.png", "Images/bus_0001-l.PNG", {"id": "0001-l"}),
        ("Images/bus_{id}.png", "images/bus_1.png", None),
        ("{id}.png", "a/b/c d.png", {"id": "a/b/c d"}),
        ("{label}/{id}.*", "benign/p1/x.y.tiff", {"label": "benign", "id": "p1/x.y"}),
        ("{id}_mask*.png", "x_mask_1.png", {"id": "x"}),
        ("{id}/{id}.png", "7/7.png", {"id": "7"}),
        ("{id}/{id}.png", "7/8.png", None),
        ("a+b ({id}).png", "a+b (3).png", {"id": "3"}),
    ],
)
def test_patterns(pattern, name, found):
    match = compile_pattern(pattern).fullmatch(name)
    assert (match and match.groupdict()) == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "options.images: is missing"),
        ({"images": "x.png"}, "has no {id}"),
        ({"images": "{id}.png", "mask": "m"}, "options.mask: unknown key"),
        ({"images": "{id}.png", "patient": "("}, "no regular expression"),
        ({"images": "{id}.png", "patient": "a"}, "needs one group"),
        ({"images": "{id}.png", "label_from": "colours"}, "label_from: colours` needs"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    with pytest.raises(DataError) as error:
        open_reader(entry("masks", options), tmp_path)
    assert message in str(error.value)


# ---- layouts of published sets by patterns ---------------------------------------------------------------------------


def bus_bra(root: Path, n: int = 3) -> Path:
    rows = []
    for i in range(1, n + 1):
        for j, side in enumerate("lr"):
            name = f"{i:04d}-{side}"
            save(root / "Images" / f"bus_{name}.png", picture(2 * i + j))
            save(root / "Masks" / f"mask_{name}.png", blob(i))
            label = "malignant" if i == 1 else "benign"
            rows.append({"ID": f"bus_{name}", "Case": i, "Histology": "x, y", "Pathology": label})
    pd.DataFrame(rows).to_csv(root / "bus_data.csv", index=False)
    return root


BUS_BRA = {"images": "Images/bus_{id}.png", "masks": "Masks/mask_{id}.png"}
BUS_BRA_TABLE = {"file": "bus_data.csv", "id": "ID", "label": "Pathology", "patient": "Case"}


def test_bus_bra(tmp_path):
    bus_bra(tmp_path / "mine")
    by_path = opened(tmp_path, "masks", BUS_BRA | {"patient": r"bus_(\d+)-"})
    assert [s.case.patient for s in by_path.samples] == ["0001", "0001", "0002", "0002", "0003", "0003"]
    assert len(set(by_path.groups)) == 3
    assert by_path.classes == ()
    by_table = opened(tmp_path, "masks", BUS_BRA | {"label_from": BUS_BRA_TABLE}, classes=("benign", "malignant"))
    assert by_table.labels.tolist() == [1, 1, 0, 0, 0, 0]
    assert len(set(by_table.groups)) == 3
    np.testing.assert_array_equal(by_id(by_table)["Images/bus_0002-r.png"].mask, blob(2) > 0)
    np.testing.assert_array_equal(by_id(by_table)["Images/bus_0002-r.png"].image, picture(5))


def test_a_table_that_names_missing_images_and_images_without_a_row_are_faults_in_one_pass(tmp_path):
    root = bus_bra(tmp_path / "mine")
    (root / "Images" / "bus_0001-l.png").unlink()
    (root / "Masks" / "mask_0002-l.png").unlink()
    save(root / "Images" / "bus_0009-l.png", picture(99))
    save(root / "Masks" / "mask_0009-l.png", blob())
    (root / "Images" / "bus_0003-r.png").write_bytes(b"")
    faults = faults_of(tmp_path, "masks", BUS_BRA | {"label_from": BUS_BRA_TABLE})
    assert sorted(faults) == sorted(
        [
            f"{root / 'bus_data.csv'}: 'bus_0001-l' names no image.",
            f"{root / 'Masks' / 'mask_0001-l.png'}: is a mask (`Masks/mask_{{id}}.png`) without an image.",
            f"{root / 'Images' / 'bus_0002-l.png'}: has no mask file (`Masks/mask_{{id}}.png`).",
            f"{root / 'Images' / 'bus_0009-l.png'}: has no row in 'bus_data.csv'.",
            f"{root / 'Images' / 'bus_0003-r.png'}: truncated, or not an image. Copy it again from the source.",
        ]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "bus.csv"}, "bus.csv: does not exist."),
        ({"file": "../bus.csv"}, "leaves the data set's folder"),
        ({"id": "Id"}, "column 'Id' missing"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path, change, message):
    bus_bra(tmp_path / "mine")
    with pytest.raises(DataError) as error:
        opened(tmp_path, "masks", BUS_BRA | {"label_from": BUS_BRA_TABLE | change})
    assert message in str(error.value)


def test_tn3k_with_jpeg_masks_in_parallel_folders(tmp_path):
    for part in ("trainval", "test"):
        for i in range(2):  # both parts have a 0000.jpg
            save(tmp_path / "mine" / f"{part}-image" / f"{i:04d}.jpg", picture(i + 10 * len(part)), quality=95)
            save(tmp_path / "mine" / f"{part}-mask" / f"{i:04d}.jpg", blob(i + len(part)), quality=75)
    data = by_id(opened(tmp_path, "masks", {"images": "{part}-image/{id}.jpg", "masks": "{part}-mask/{id}.jpg"}))
    assert len(data) == 4
    np.testing.assert_array_equal(data["trainval-image/0001.jpg"].mask, blob(9) > 0)
    np.testing.assert_array_equal(data["test-image/0001.jpg"].mask, blob(5) > 0)


def test_brest_with_several_masks_by_suffix(tmp_path):
    root, other = tmp_path / "mine", np.zeros(SHAPE, np.uint8)
    other[20:22, 1:3] = 255
    for i in (1, 2):
        save(root / f"case00{i}.png", picture(i), "RGB")
        save(root / f"case00{i}_tumor.png", blob(i), "1")
    save(root / "case002_other1.png", other)
    options = {"images": "{id}.png", "masks": ["{id}_tumor.png", "{id}_other*.png"]}
    data = by_id(opened(tmp_path, "masks", options))
    assert list(data) == ["case001.png", "case002.png"]
    np.testing.assert_array_equal(data["case002.png"].mask, (blob(2) | other) > 0)
    ignoring = opened(tmp_path, "masks", {"images": "{id}.png", "masks": "{id}_tumor.png", "ignore": "*_other*.png"})
    np.testing.assert_array_equal(by_id(ignoring)["case002.png"].mask, blob(2) > 0)


COLOURS = {"colours": {"benign": [0, 255, 0], "malignant": [255, 0, 0]}}
BUS_UCLM = {"images": "images/{id}.png", "masks": "masks/{id}.png", "values": COLOURS, "label_from": "colours"}


def coloured(*colours: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((*SHAPE, 3), np.uint8)
    for i, colour in enumerate(colours):
        mask[2 + 9 * i : 8 + 9 * i, 4:20] = colour
    return mask


def test_bus_uclm_with_colours_for_classes(tmp_path):
    root = tmp_path / "mine"
    masks = {"ALWI_000": coloured((0, 255, 0)), "ALWI_001": coloured((250, 5, 0)), "FUHI_000": coloured()}
    for i, (name, mask) in enumerate(masks.items()):
        save(root / "images" / f"{name}.png", picture(i), "RGB")
        save(root / "masks" / f"{name}.png", mask)
    classes = ("benign", "malignant", "normal")
    data = opened(tmp_path, "masks", BUS_UCLM | {"patient": r"/([A-Z]+)_"}, classes=classes)
    assert data.labels.tolist() == [0, 1, 2]
    assert [int(s.mask.sum()) for s in data.samples] == [6 * 16, 6 * 16, 0]
    assert len(set(data.groups)) == 2
    assert opened(tmp_path, "masks", BUS_UCLM | {"label_from": None}).labels.tolist() == [-1, -1, -1]


def test_a_mask_of_two_classes_is_a_fault_and_other_classes_are_left_out_with_a_note(tmp_path):
    root = tmp_path / "mine"
    for i, mask in enumerate([coloured((0, 255, 0)), coloured((255, 0, 0))]):
        save(root / "images" / f"{i}.png", picture(i))
        save(root / "masks" / f"{i}.png", mask)
    data = opened(tmp_path, "masks", BUS_UCLM, classes=("benign",))
    assert (len(data), data.notes) == (1, ("left out 1 images of other classes (malignant)",))
    save(root / "masks" / "1.png", coloured((0, 255, 0), (255, 0, 0)))
    (fault,) = faults_of(tmp_path, "masks", BUS_UCLM, classes=("benign", "malignant"))
    assert fault == f"{root / 'images' / '1.png'}: its mask has the colours of benign and malignant, not of one."


def test_class_folders_with_masks_in_nested_folders_of_any_name(tmp_path):
    for i, folder in enumerate(["benign/Besuch 1", "malignant/größe/超声"]):
        save(tmp_path / "mine" / folder / "Bild (1).TIFF", picture(i))
        save(tmp_path / "mine" / folder / "Bild (1)_seg.PNG", blob(i))
    data = opened(tmp_path, "masks", {"images": "{label}/{id}.tiff", "masks": "{label}/{id}_seg.png"})
    assert [s.case.label for s in data.samples] == ["benign", "malignant"]
    np.testing.assert_array_equal(data.samples[1].mask, blob(1) > 0)


def test_an_image_without_a_mask_may_be_declared_empty(tmp_path):
    save(tmp_path / "mine" / "a.png", picture(0))
    save(tmp_path / "mine" / "b.png", picture(1))
    save(tmp_path / "mine" / "b_mask.png", blob())
    options = {"images": "{id}.png", "masks": "{id}_mask.png"}
    (fault,) = faults_of(tmp_path, "masks", options)
    assert "a.png: has no mask file" in fault
    data = opened(tmp_path, "masks", options | {"no_mask": "empty"})
    assert [bool(s.mask.any()) for s in data.samples] == [False, True]


def test_two_images_of_one_mask_are_a_fault(tmp_path):
    for name in ("a.png", "a.jpg", "a_mask.png"):
        save(tmp_path / "mine" / name, picture(0))
    (fault,) = faults_of(tmp_path, "masks", {"images": "{id}.*", "masks": "{id}_mask.png"})
    assert "a.png: has the same masks as 'a.jpg'" in fault


def test_an_image_whose_path_names_no_patient_is_a_fault(tmp_path):
    for name in ("p1_a.png", "b.png"):
        save(tmp_path / "mine" / name, picture(0))
    (fault,) = faults_of(tmp_path, "masks", {"images": "{id}.png", "patient": r"p(\d+)_"})
    assert "b.png: no patient in the path" in fault


# ---- USFM ------------------------------------------------------------------------------------------------------------

SETS = {"training_set": "train", "val_set": "val", "test_set": "test"}


def test_the_published_layout_with_masks_keeps_its_split(tmp_path):
    for k, name in enumerate(SETS):
        for i in range(2):
            save(tmp_path / "mine" / name / "image" / f"{i}.png", picture(10 * k + i))
            save(tmp_path / "mine" / name / "mask" / f"{i}.png", blob(k + i) // 255)
    data = opened(tmp_path, "usfm", {"values": "nonzero"})
    assert {s.case.case_id: s.case.split for s in data.samples} == {
        f"{name}/image/{i}.png": side for name, side in SETS.items() for i in range(2)
    }
    np.testing.assert_array_equal(by_id(data)["val_set/image/1.png"].mask, blob(2) > 0)


def test_the_published_layout_with_class_folders(tmp_path):
    for k, name in enumerate(SETS):
        for i, label in enumerate(["benign", "malignant"]):
            save(tmp_path / "mine" / name / label / "1.jpg", picture(10 * k + i))
    data = opened(tmp_path, "usfm", tasks=("classification",))
    assert data.classes == ("benign", "malignant")
    assert [s.case.split for s in data.samples] == ["test", "test", "train", "train", "val", "val"]
    assert all(s.mask is None for s in data.samples)


def test_a_missing_set_and_a_set_of_another_name_are_faults(tmp_path):
    for name in ("training_set", "auswahl"):
        save(tmp_path / "mine" / name / "a" / "1.png", picture(len(name)))
    faults = faults_of(tmp_path, "usfm", tasks=("classification",))
    assert [fault.split(":")[0] for fault in faults] == [
        str(tmp_path / "mine" / name) for name in ("auswahl/a/1.png", "val_set", "test_set")
    ]


def test_the_manifest_may_fix_the_split(tmp_path):
    rows = [
        {"path": save(tmp_path / f"{i}.png", picture(i)).name, "label": "a", "split": side}
        for i, side in enumerate(["train", "val", "test"])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "list.csv", index=False)
    how = {"tasks": ("classification",), "path": "list.csv"}
    assert [s.case.split for s in opened(tmp_path, "manifest", **how).samples] == ["train", "val", "test"]
    rows[0]["split"], rows[1]["split"] = "training", ""
    pd.DataFrame(rows).to_csv(tmp_path / "list.csv", index=False)
    assert faults_of(tmp_path, "manifest", **how) == [
        "list.csv, row 2: split 'training' is not one of train, val, test.",
        "list.csv, row 3: split is empty.",
    ]


def test_a_list_for_segmentation_alone_needs_no_label(tmp_path):
    for name in ("image.png", "mask.png"):
        save(tmp_path / name, blob() // 255 if name == "mask.png" else picture(0))
    pd.DataFrame({"path": ["image.png"], "mask": ["mask.png"]}).to_csv(tmp_path / "list.csv", index=False)
    (sample,) = opened(tmp_path, "manifest", {"values": "nonzero"}, path="list.csv").samples
    assert sample.case.label is None
    np.testing.assert_array_equal(sample.mask, blob() > 0)


# ---- HC18 ------------------------------------------------------------------------------------------------------------


def outline(
    centre: tuple[int, int], axes: tuple[int, int], angle: float, shape=(90, 120), thick: int = 1
) -> np.ndarray:
    return cv2.ellipse(np.zeros(shape, np.uint8), centre, axes, angle, 0, 360, 255, thick)


def filled(centre: tuple[int, int], axes: tuple[int, int], angle: float, shape=(90, 120)) -> np.ndarray:
    """Pixel centres within the ellipse, by its equation."""
    turned = (np.indices(shape)[1] - centre[0] + 1j * (np.indices(shape)[0] - centre[1])) * np.exp(
        -1j * np.pi * angle / 180
    )
    return (turned.real / axes[0]) ** 2 + (turned.imag / axes[1]) ** 2 <= 1


def assert_filled(found: np.ndarray, line: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for pixels at the line, which OpenCV does not draw quite where the ellipse ends, and no larger."""
    near = cv2.dilate(line.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert not ((found != expected) & ~near).any()
    assert found.sum() == pytest.approx(expected.sum(), rel=0.02)


@pytest.mark.parametrize("thick", [1, 3])
@pytest.mark.parametrize(
    ("centre", "axes", "angle"),
    [
        ((60, 45), (40, 28), 20),  # within
        ((60, 45), (59, 44), 0),  # touches all four borders
        ((60, 20), (40, 30), 10),  # cut by the upper border
        ((110, 45), (40, 30), 0),  # cut by the right border
        ((12, 12), (40, 30), 30),  # cut by two borders, and covers a corner
        ((60, 45), (55, 60), 0),  # cut above and below
        ((60, 45), (70, 30), 0),  # cut on the left and on the right
    ],
)
def test_an_outline_is_filled_even_where_it_leaves_the_picture(centre, axes, angle, thick):
    line = outline(centre, axes, angle, thick=thick) > 0
    assert_filled(fill_outline(line), line, filled(centre, axes, angle))


@given(
    st.tuples(st.integers(10, 110), st.integers(10, 80)),
    st.tuples(st.integers(25, 60), st.integers(20, 50)),
    st.integers(0, 179),
)
@settings(max_examples=60, deadline=None)
def test_any_ellipse_of_which_half_is_seen_is_filled(centre, axes, angle):
    line, expected = outline(centre, axes, angle) > 0, filled(centre, axes, angle)
    whole = cv2.ellipse(np.zeros((400, 400), np.uint8), (200, 200), axes, angle, 0, 360, 255, 1)
    assume(line.sum() > 0.5 * (whole > 0).sum())
    assert_filled(fill_outline(line), line, expected)


@pytest.mark.parametrize("kind", ["empty", "gap", "noise"])
def test_what_is_no_outline_is_a_fault(kind):
    line = outline((60, 45), (40, 28), 0) > 0
    if kind == "gap":
        line[40:50, 90:] = False
    if kind == "noise":
        line = np.random.default_rng(0).random(line.shape) < 0.2
    with pytest.raises(ValueError, match="outline"):
        fill_outline(line & (kind != "empty"))


def hc18(root: Path, names=("010_HC", "010_2HC", "011_HC")) -> Path:
    folder = root / "training_set"
    for i, name in enumerate(names):
        save(folder / f"{name}.png", picture(i, (90, 120)))
        save(folder / f"{name}_Annotation.png", outline((60, 45 + i), (40, 28), 10 * i))
    save(root / "test_set" / "000_HC.png", picture(9, (90, 120)))
    rows = "".join(f"{name}.png,{0.1 + i / 100:.2f},{44.3 + i}\n" for i, name in enumerate(names))
    header = "filename,pixel size(mm),head circumference (mm)\n"
    (root / "training_set_pixel_size_and_HC.csv").write_text(header + rows)
    return root


def test_hc18(tmp_path):
    hc18(tmp_path / "mine")
    reader = open_reader(entry("hc18"), tmp_path)
    data = opened(tmp_path, "hc18")
    assert {s.case.case_id: s.spacing for s in data.samples} == {
        "010_2HC": Spacing(0.11, 0.11), "010_HC": Spacing(0.1, 0.1), "011_HC": Spacing(0.12, 0.12)
    }  # fmt: skip
    line = outline((60, 47), (40, 28), 20) > 0
    assert_filled(by_id(data)["011_HC"].mask, line, filled((60, 47), (40, 28), 20))
    assert data.groups[0] == data.groups[1] != data.groups[2]
    assert data.notes == ("left out 1 images of the test set, whose outlines are not published",)
    reader.cases()
    assert reader.circumference == {"010_HC": 44.3, "010_2HC": 45.3, "011_HC": 46.3}


def test_hc18_faults_in_one_pass(tmp_path):
    root = hc18(tmp_path / "mine", ("001_HC", "002_HC", "003_HC", "004_HC"))
    folder, csv = root / "training_set", root / "training_set_pixel_size_and_HC.csv"
    (folder / "001_HC_Annotation.png").unlink()
    (folder / "002_HC.png").unlink()
    save(folder / "003_HC_Annotation.png", np.zeros((90, 120), np.uint8))
    csv.write_text(csv.read_text().replace("004_HC.png,0.13", "004_HC.png,-1"))
    assert sorted(faults_of(tmp_path, "hc18")) == sorted(
        [
            f"{folder / '001_HC.png'}: has no outline ('001_HC_Annotation.png').",
            f"{csv}: '002_HC.png' names no image.",
            f"{folder / '002_HC_Annotation.png'}: is an outline without an image.",
            f"{folder / '003_HC_Annotation.png'}: holds no outline.",
            f"{csv}: '004_HC.png': '-1' or '47.3' is not a positive number.",
            f"{folder / '004_HC.png'}: has no row in the list of pixel sizes.",
        ]
    )


# ---- CAMUS -----------------------------------------------------------------------------------------------------------


def labels(seed: int = 0, shape=(40, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, shape, dtype=np.uint8)


def write_mhd(path: Path, pixels: np.ndarray, spacing=(0.154, 0.308), **changes: str) -> None:
    """(H, W) levels as CAMUS' first release has them: three dimensions, the first along a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape
    kinds = {"uint8": "MET_UCHAR", "int16": "MET_SHORT", "float32": "MET_FLOAT"}
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "ElementSpacing": f"{spacing[1]} {spacing[0]} 1",
        "DimSize": f"{width} {height} 1",
        "ElementType": kinds[str(pixels.dtype)],
        "ElementDataFile": path.with_suffix(".raw").name,
    } | changes
    path.write_text("".join(f"{key} = {value}\n" for key, value in header.items()))
    path.with_suffix(".raw").write_bytes(pixels.tobytes())


def write_nii(path: Path, pixels: np.ndarray, spacing=(0.154, 0.308)) -> None:
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(pixels.T, np.diag([-spacing[1], -spacing[0], 1, 1]))
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


WRITERS = {".mhd": write_mhd, ".nii.gz": write_nii}


def camus(root: Path, ending: str, patients=(1, 2)) -> Path:
    for p in patients:
        folder = root / f"patient{p:04d}"
        for k, view in enumerate(["2CH_ED", "2CH_ES", "4CH_ED", "4CH_ES"]):
            stem = folder / f"patient{p:04d}_{view}"
            WRITERS[ending](Path(f"{stem}{ending}"), picture(10 * p + k, (40, 30)))
            WRITERS[ending](Path(f"{stem}_gt{ending}"), labels(10 * p + k))
        (folder / "Info_2CH.cfg").write_text("ED: 1\nES: 18\nImageQuality: Good\n")
    return root


@pytest.mark.parametrize("ending", [".mhd", ".nii.gz"])
def test_camus(tmp_path, ending):
    camus(tmp_path / "mine" / "training", ending)
    data = opened(tmp_path, "camus")
    assert len(data) == 8
    sample = by_id(data)["patient0002_4CH_ED"]
    np.testing.assert_array_equal(sample.image, picture(22, (40, 30)))
    np.testing.assert_array_equal(sample.mask, labels(22) == 1)
    assert sample.spacing == pytest.approx((0.154, 0.308))  # down the rows first
    assert len(set(data.groups)) == 2
    muscle = opened(tmp_path, "camus", {"structures": [1, 2], "views": ["4CH"], "phases": ["ES"]})
    assert list(by_id(muscle)) == ["patient0001_4CH_ES", "patient0002_4CH_ES"]
    np.testing.assert_array_equal(muscle.samples[0].mask, np.isin(labels(13), [1, 2]))


@pytest.mark.parametrize("ending", [".mhd", ".nii.gz"])
def test_axes_and_spacing_are_those_of_simpleitk(tmp_path, ending):
    sitk = pytest.importorskip("SimpleITK")
    path = tmp_path / f"x{ending}"
    WRITERS[ending](path, picture(0, (40, 30)))
    found, image = read_picture(path, tmp_path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(found.levels, sitk.GetArrayFromImage(image).reshape(40, 30))
    assert found.spacing[::-1] == pytest.approx(image.GetSpacing()[:2])


def test_the_lists_of_camus_become_its_split(tmp_path):
    camus(tmp_path / "mine" / "database", ".mhd", (1, 2, 3))
    for part, patient in [("training", 1), ("validation", 2), ("testing", 3)]:
        path = tmp_path / "mine" / "database_split" / f"subgroup_{part}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"patient{patient:04d}\r\n")
    data = opened(tmp_path, "camus", {"views": ["2CH"], "phases": ["ED"]})
    assert [s.case.split for s in data.samples] == ["train", "val", "test"]


def test_camus_without_labels_is_noted_for_the_testing_folder_and_a_fault_elsewhere(tmp_path):
    camus(tmp_path / "mine" / "training", ".mhd", (1,))
    write_mhd(tmp_path / "mine" / "testing" / "patient0451" / "patient0451_2CH_ED.mhd", picture(0))
    assert opened(tmp_path, "camus").notes == ("left out 1 images of the testing folder, which have no labels",)
    lost = tmp_path / "mine" / "training" / "patient0001"
    (lost / "patient0001_2CH_ED_gt.mhd").unlink()
    (lost / "patient0001_4CH_ED.mhd").unlink()
    assert faults_of(tmp_path, "camus") == [
        f"{lost / 'patient0001_2CH_ED.mhd'}: has no labels ('patient0001_2CH_ED_gt').",
        f"{lost / 'patient0001_4CH_ED_gt.mhd'}: has no image.",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CompressedData": "True"}, "x.mhd: is compressed"),
        ({"ElementDataFile": "../x.raw"}, "leaves the data set's folder"),
        ({"ElementDataFile": "/etc/passwd"}, "leaves the data set's folder"),
        ({"ElementDataFile": "y.raw"}, "y.raw: does not exist"),
        ({"DimSize": "30 41 1"}, "x.raw: has 1200 bytes; 'x.mhd' promises 1230"),
        ({"DimSize": "100000 100000 1"}, "claims more than 64 million"),
        ({"DimSize": "30 20 2"}, "expected one picture"),
        ({"DimSize": "thirty"}, "no MetaImage header"),
        ({"ElementType": "MET_LONG"}, "no MetaImage header"),
        ({"ElementSpacing": "0 1 1"}, "is not positive"),
    ],
)
def test_faults_of_mhd_files(tmp_path, changes, message):
    write_mhd(tmp_path / "in" / "x.mhd", picture(0, (40, 30)), **changes)
    (tmp_path / "x.raw").write_bytes(bytes(1200))
    with pytest.raises(DataError) as error:
        read_picture(tmp_path / "in" / "x.mhd", tmp_path / "in")
    assert message in str(error.value)


@pytest.mark.parametrize(("level", "fine"), [(255, True), (256, False), (-1, False)])
def test_levels_beyond_8_bits_are_refused(tmp_path, level, fine):
    write_mhd(tmp_path / "x.mhd", np.full((4, 5), level, np.int16))
    if fine:
        assert (read_picture(tmp_path / "x.mhd", tmp_path).levels == 255).all()
        return
    with pytest.raises(DataError, match=f"levels from {level} to {level}; expected whole numbers"):
        read_picture(tmp_path / "x.mhd", tmp_path)


def test_a_truncated_nifti_is_named(tmp_path):
    write_nii(tmp_path / "x.nii.gz", picture(0, (40, 30)))
    whole = (tmp_path / "x.nii.gz").read_bytes()
    for size in (0, 20, len(whole) // 2):
        (tmp_path / "x.nii.gz").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"x\.nii\.gz: truncated, or not NIfTI"):
            read_picture(tmp_path / "x.nii.gz", tmp_path)


def test_a_nifti_that_claims_billions_of_voxels_is_not_inflated(tmp_path):
    write_nii(tmp_path / "x.nii", picture(0, (40, 30)))
    content = bytearray((tmp_path / "x.nii").read_bytes())
    content[42:46] = struct.pack("<hh", 30_000, 30_000)
    with gzip.open(tmp_path / "x.nii.gz", "wb") as stream:
        stream.write(content)
    with pytest.raises(DataError, match="claims more than 64 million"):
        read_picture(tmp_path / "x.nii.gz", tmp_path)


@pytest.mark.parametrize(("layout", "module"), [("camus", "nibabel"), ("dicom", "pydicom")])
def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch, layout, module):
    def absent(name: str):
        raise ModuleNotFoundError(name)

    folder = tmp_path / "mine" / "patient0001"
    folder.mkdir(parents=True)
    for name in ("patient0001_2CH_ED.nii", "patient0001_2CH_ED_gt.nii"):
        (folder / name).write_bytes(b"x")
    monkeypatch.setattr("usfm_bench.data.readers.base.import_module", absent)
    with pytest.raises(BenchError, match=rf"needs {module}: pip install 'usfm-bench\[medical\]'"):
        opened(tmp_path, layout)


# ---- bad input -------------------------------------------------------------------------------------------------------


def bomb(width: int, height: int) -> bytes:
    png = bytearray(cv2.imencode(".png", picture(0))[1].tobytes())
    png[16:24] = struct.pack(">II", width, height)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    return bytes(png)


@pytest.mark.parametrize("side", [9_000, 30_000, 100_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"bomb\.png: its header claims more than 64 million pixels"):
        read_grey(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_a_real_image_of_too_many_pixels_is_refused(tmp_path):
    stream = io.BytesIO()
    Pillow.new("1", (MAX_PIXELS // 8000 + 1, 8000)).save(stream, "TIFF", compression="group4")
    (tmp_path / "bomb.tif").write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=r"bomb\.tif: its header claims"):
        read_grey(tmp_path / "bomb.tif")


LAYOUTS = {"masks": {"images": "{id}.png"}, "imagefolder": {}}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_that_is_wrong_is_reported_in_one_pass(tmp_path, layout):
    root, outside = tmp_path / "mine", save(tmp_path / "outside" / "x.png", picture(0))
    for i, name in enumerate(["fine", "Twin", "twin"]):
        save(root / "a" / f"{name}.png", picture(i))
    (root / "a" / "empty.png").write_bytes(b"")
    (root / "a" / "half.png").write_bytes((root / "a" / "fine.png").read_bytes()[:200])
    (root / "a" / "bomb.png").write_bytes(bomb(100_000, 100_000))
    (root / "a" / "link.png").symlink_to(outside)
    (root / "a" / "folder").symlink_to(outside.parent)
    (root / "a" / "lost.png").symlink_to("nowhere.png")
    (root / "a" / "loop.png").symlink_to("loop.png")
    (root / "a" / "inside.png").symlink_to("fine.png")
    (root / "a" / "._fine.png").write_bytes(b"resource fork")
    faults = faults_of(tmp_path, layout, LAYOUTS[layout], tasks=("classification",))
    expected = {
        "empty.png": "truncated",
        "half.png": "truncated",
        "bomb.png": "its header claims",
        "link.png": "is a link that leaves",
        "folder": "is a link that leaves",
        "lost.png": "is a link to nothing",
        "loop.png": "is a link to nothing",
    }
    for name, what in expected.items():
        assert sum(f.startswith(f"{root / 'a' / name}: {what}") for f in faults) == 1, (name, faults)
    assert sum("Twin.png" in f and "twin.png" in f and "differ only in case" in f for f in faults) == 1
    assert len(faults) == len(expected) + 1


def test_a_name_that_is_not_utf8_is_a_fault_that_can_be_printed(tmp_path):
    save(tmp_path / "mine" / "a.png", picture(0))
    try:
        Path(str(tmp_path / "mine") + "/b\udcff.png").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system refuses such names")
    (fault,) = faults_of(tmp_path, "masks", {"images": "{id}.png"})
    assert "b\\udcff.png': the name is not UTF-8" in fault.encode().decode()


def test_the_data_sets_own_folder_may_be_a_link(tmp_path):
    save(tmp_path / "disk" / "a.png", picture(0))
    (tmp_path / "mine").symlink_to(tmp_path / "disk")
    assert len(opened(tmp_path, "masks", {"images": "{id}.png"})) == 1


@pytest.mark.parametrize("layout", ["masks", "usfm", "hc18", "camus", "imagefolder"])
def test_an_empty_folder_is_a_fault(tmp_path, layout):
    (tmp_path / "mine").mkdir()
    options = {"images": "{id}.png"} if layout == "masks" else {}
    (fault,) = faults_of(tmp_path, layout, options)
    assert str(tmp_path / "mine") in fault


@pytest.mark.parametrize("layout", ["masks", "usfm", "hc18", "camus"])
def test_a_missing_folder_says_where_it_was_looked_for(tmp_path, layout):
    options = {"images": "{id}.png"} if layout == "masks" else {}
    with pytest.raises(DataError, match="Dataset 'mine' is not at"):
        opened(tmp_path, layout, options)


def test_rows_that_differ_only_in_case_are_one_file_on_other_systems(tmp_path):
    for name in ("A.png", "a.png"):
        save(tmp_path / name, picture(len(name)))
    pd.DataFrame({"path": ["A.png", "a.png"], "label": "x"}).to_csv(tmp_path / "list.csv", index=False)
    (fault,) = faults_of(tmp_path, "manifest", path="list.csv", tasks=("classification",))
    assert "'a.png' is listed twice" in fault


def test_faulty_rows_and_faulty_files_of_a_list_are_in_one_message(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    pd.DataFrame({"path": ["empty.png", "gone.png", "/etc/passwd"], "label": "x"}).to_csv(tmp_path / "list.csv")
    table = pd.read_csv(tmp_path / "list.csv").drop(columns="Unnamed: 0")
    table.to_csv(tmp_path / "list.csv", index=False)
    faults = faults_of(tmp_path, "manifest", path="list.csv", tasks=("classification",))
    assert [f.split(":")[0] for f in faults] == ["list.csv, row 3", "list.csv, row 4", str(tmp_path / "empty.png")]


def test_the_command_reports_all_faults_exits_with_2_and_writes_nothing(tmp_path):
    root = hc18(tmp_path / "data" / "mine")
    (root / "training_set" / "010_HC.png").write_bytes(b"")
    (root / "training_set" / "011_HC_Annotation.png").unlink()
    registry = tmp_path / "sets.yaml"
    registry.write_text(
        "mine: {version: 1, title: heads, tasks: [segmentation], organ: fetal head, layout: hc18, path: mine}\n"
    )
    before = sorted(tmp_path.rglob("*"))
    how = ["--data-root", str(tmp_path / "data"), "--registry", str(registry)]
    done = CliRunner().invoke(app, ["data", "verify", "mine", *how])
    assert done.exit_code == 2
    assert "010_HC.png: truncated" in done.output
    assert "011_HC.png: has no outline" in done.output
    assert "2 faults." in done.output
    assert sorted(tmp_path.rglob("*")) == before


def test_every_entry_in_the_documentation_is_one(tmp_path):
    docs = Path(__file__).parents[1] / "docs"
    text = "".join((docs / page).read_text(encoding="utf-8") for page in ("adding.md", "layouts.md"))
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    # The others are profiles, models and recipes.
    blocks = [b for b in blocks if all(isinstance(f, dict) and {"layout", "extends"} & set(f) for f in b.values())]
    shipped = load_registry()
    entries = [
        DatasetSpec(name=name, **facts) for block in blocks for name, facts in block.items() if "extends" not in facts
    ]
    assert {spec.layout for spec in [*entries, *shipped.values()]} == set(READERS), "an example of each"
    told = {layout for layout in READERS if f"`{layout}`" in text or f"layout: {layout}" in text}
    assert told == set(READERS) - {"phantom"}
    for block in blocks:
        registry = tmp_path / "datasets.yaml"
        registry.write_text(yaml.safe_dump(block))
        assert load_registry(registry).keys() - shipped.keys() == block.keys()
    for spec in entries:
        if spec.layout == "dicom":
            pytest.importorskip("pydicom")
        open_reader(spec, tmp_path)
