"""Image files, class folders and lists become cases; whatever is wrong with them is named with its path."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.readers.base import read_grey, read_mask
from usfm_bench.data.sample import Case, Sample, Spacing
from usfm_bench.specs.dataset import DatasetSpec

SHAPE = (24, 32)


def entry(layout: str, path: str, **more) -> DatasetSpec:
    facts = {"version": 1, "title": "mine", "tasks": ("segmentation", "classification"), "organ": "breast"}
    return DatasetSpec(name="mine", layout=layout, path=path, **facts | more)


def picture(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def encoded(ending: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(ending, pixels)[1].tobytes()


# ---- image files -----------------------------------------------------------------------------------------------------


def test_a_grey_image_comes_back_bit_for_bit(tmp_path):
    np.testing.assert_array_equal(read_grey(save(tmp_path / "grey.png", picture(0))), picture(0))


@pytest.mark.parametrize(("bgr", "grey"), [((255, 0, 0), 29), ((0, 255, 0), 150), ((0, 0, 255), 76)])
def test_colour_is_weighed_by_bt601_luminance(tmp_path, bgr, grey):
    # 255 * 0.114 = 29.1, 255 * 0.587 = 149.7, 255 * 0.299 = 76.2
    assert (read_grey(save(tmp_path / "colour.png", np.full((4, 5, 3), bgr, np.uint8))) == grey).all()


def test_an_image_of_16_bits_keeps_its_high_byte(tmp_path):
    deep = picture(1).astype(np.uint16) * 256 + 200
    np.testing.assert_array_equal(read_grey(save(tmp_path / "deep.png", deep)), picture(1))


def test_an_image_of_floats_is_refused_by_its_type(tmp_path):
    path = save(tmp_path / "floats.tif", picture(2).astype(np.float32))
    with pytest.raises(DataError, match=r"floats\.tif: pixels are float32"):
        read_grey(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tif"])
def test_a_truncated_image_is_never_read_in_part(tmp_path, ending, share):
    whole = encoded(ending, picture(3, (120, 90, 3)))
    path = tmp_path / f"cut{ending}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=rf"cut\{ending}: truncated, or not an image"):
        read_grey(path)


def test_an_image_that_claims_billions_of_pixels_is_a_data_error(tmp_path):
    png = bytearray(encoded(".png", picture(4)))
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    (tmp_path / "vast.png").write_bytes(png)
    with pytest.raises(DataError, match=r"vast\.png"):
        read_grey(tmp_path / "vast.png")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: cannot be read: No such file"):
        read_grey(tmp_path / "gone.png")


def test_a_mask_begins_at_half_luminance(tmp_path):
    path = save(tmp_path / "mask.png", np.array([[0, 127, 128, 255]], np.uint8))
    assert read_mask((path,), (1, 4)).tolist() == [[False, False, True, True]]


def test_no_mask_file_is_an_empty_mask():
    assert not read_mask((), SHAPE).any()


def test_a_mask_of_another_size_says_both_sizes(tmp_path):
    path = save(tmp_path / "mask.png", picture(5, (10, 20)))
    with pytest.raises(DataError, match=r"mask\.png: mask is 20 x 10 px, its image 32 x 24\."):
        read_mask((path,), SHAPE)


# ---- class folders ---------------------------------------------------------------------------------------------------


def open_folder(root: Path, **more) -> Dataset:
    return open_dataset(entry("imagefolder", "mine", **more), root)


def test_class_folders_are_read_at_any_depth_and_under_any_name(tmp_path):
    names = ["benign/a.png", "benign/visit 2/left (1).PNG", "bösartig/Übersicht/größe.jpg", "normal/超声.bmp"]
    for i, name in enumerate(names):
        save(tmp_path / "mine" / name, picture(i))
    (tmp_path / "mine" / "benign" / "notes.txt").write_text("not an image")
    found = open_folder(tmp_path)
    assert [sample.case.case_id for sample in found.samples] == names
    assert found.classes == ("benign", "bösartig", "normal")
    assert found.labels.tolist() == [0, 0, 1, 2]


def test_images_of_class_folders_have_no_mask_and_no_spacing(tmp_path):
    save(tmp_path / "mine" / "a" / "1.png", picture(0))
    (sample,) = open_folder(tmp_path).samples
    assert (sample.mask, sample.spacing) == (None, None)


def test_the_entry_chooses_and_orders_the_classes(tmp_path):
    for i, label in enumerate("abc"):
        save(tmp_path / "mine" / label / "1.png", picture(i))
    found = open_folder(tmp_path, classes=("c", "a"))
    assert {s.case.label: int(y) for s, y in zip(found.samples, found.labels, strict=True)} == {"c": 0, "a": 1}


def test_every_class_without_an_image_is_named_by_its_folder(tmp_path):
    save(tmp_path / "mine" / "full" / "1.png", picture(0))
    for label in ("hollow", "void"):
        (tmp_path / "mine" / label).mkdir()
    with pytest.raises(DataError) as error:
        open_folder(tmp_path)
    assert all(f"{tmp_path / 'mine' / label}: no images" in str(error.value) for label in ("hollow", "void"))


def test_a_folder_without_class_folders_is_refused(tmp_path):
    save(tmp_path / "mine" / "1.png", picture(0))
    with pytest.raises(DataError, match="mine: no class folders"):
        open_folder(tmp_path)


@pytest.mark.parametrize("layout", ["busi", "imagefolder", "manifest"])
def test_missing_data_say_where_they_were_looked_for_and_where_to_get_them(tmp_path, layout):
    spec = entry(layout, "nowhere", source="https://example.org/data", classes=("a",))
    with pytest.raises(DataError) as error:
        open_dataset(spec, tmp_path)
    for part in ("'mine'", str(tmp_path / "nowhere"), "https://example.org/data", "--data-root"):
        assert part in str(error.value)


# ---- lists -----------------------------------------------------------------------------------------------------------


def open_list(root: Path, rows: list[dict], name: str = "list.csv", **more) -> Dataset:
    table = pd.DataFrame(rows)
    table.to_parquet(root / name) if name.endswith(".parquet") else table.to_csv(root / name, index=False)
    return open_dataset(entry("manifest", name, **more), root)


def listed(root: Path, *names: str, label: str = "a") -> list[dict]:
    return [
        {"path": save(root / n, picture(i)).relative_to(root).as_posix(), "label": label} for i, n in enumerate(names)
    ]


def faults_of(root: Path, rows: list[dict], **more) -> str:
    with pytest.raises(DataError) as error:
        open_list(root, rows, **more)
    return str(error.value)


def test_paths_are_relative_to_the_list(tmp_path):
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    pd.DataFrame(listed(folder, "images/1.png", "2.png")).to_csv(folder / "list.csv", index=False)
    found = open_dataset(entry("manifest", "deep/down/list.csv"), tmp_path)
    assert [sample.case.case_id for sample in found.samples] == ["images/1.png", "2.png"]


def test_the_list_may_name_a_mask_or_none(tmp_path):
    rows = listed(tmp_path, "1.png", "2.png")
    save(tmp_path / "lesion.png", np.eye(*SHAPE, dtype=np.uint8) * 255)
    first, second = open_list(tmp_path, [rows[0] | {"mask": "lesion.png"}, rows[1]]).samples
    np.testing.assert_array_equal(first.mask, np.eye(*SHAPE, dtype=bool))
    assert second.mask is None


def test_spacing_is_read_down_the_rows_first(tmp_path):
    rows = listed(tmp_path, "1.png", "2.png")
    first, second = open_list(tmp_path, [rows[0] | {"spacing_x": 0.2, "spacing_y": 0.1}, rows[1]]).samples
    assert (first.spacing, second.spacing) == (Spacing(y=0.1, x=0.2), None)


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_images_of_one_patient_share_a_group(tmp_path, name):
    rows = listed(tmp_path, *(f"{i}.png" for i in range(5)))
    for row, patient in zip(rows, ["007", "7", "007", "8", "9"], strict=True):
        row["patient"] = patient
    a, b, c, d, e = open_list(tmp_path, rows, name).groups
    assert a == c
    assert len({a, b, d, e}) == 4


def test_patients_are_names_even_where_all_are_digits(tmp_path):
    one, other = listed(tmp_path, "1.png", "2.png")
    assert len(set(open_list(tmp_path, [one | {"patient": "007"}, other | {"patient": "7"}]).groups)) == 2


def test_parquet_reads_as_csv_does(tmp_path):
    rows = [row | {"patient": "p", "spacing_y": 0.1, "spacing_x": 0.2} for row in listed(tmp_path, "1.png", "2.png")]
    assert open_list(tmp_path, rows).content_hash == open_list(tmp_path, rows, "list.parquet").content_hash


def test_parquet_may_leave_numbers_out(tmp_path):
    first, second = listed(tmp_path, "1.png", "2.png")
    rows = [first | {"spacing_y": 0.1, "spacing_x": 0.2}, second]
    assert [sample.spacing for sample in open_list(tmp_path, rows, "list.parquet").samples] == [(0.1, 0.2), None]


def test_every_faulty_row_of_a_list_is_in_one_message(tmp_path):
    root = tmp_path / "root"
    outside, good = save(tmp_path / "outside.png", picture(9)), {"label": "a", "spacing_y": "0.1", "spacing_x": "0.1"}
    (again,) = listed(root, "1.png")
    rows = [
        good | {"path": "../outside.png"},
        good | {"path": str(outside)},
        good | {"path": "gone.png"},
        good | again | {"mask": "nomask.png"},
        good | again | {"label": "c"},
        *(good | again | {"spacing_y": bad} for bad in ("-1", "0", "inf", "wide")),
    ]
    message = faults_of(root, rows, classes=("a", "b"))
    for fault in (
        "list.csv, row 2: path '../outside.png' leaves the list's folder.",
        f"row 3: path '{outside}' leaves the list's folder.",
        "row 4: path 'gone.png' does not exist.",
        "row 5: mask 'nomask.png' does not exist.",
        "row 6: label 'c' is not one of a, b.",
        "row 7: spacing_y '-1' is not a positive number of millimetres.",
        "row 8: spacing_y '0' is not",
        "row 9: spacing_y 'inf' is not",
        "row 10: spacing_y 'wide' is not",
        "list.csv: '1.png' is listed twice.",
    ):
        assert fault in message


def test_a_link_out_of_the_lists_folder_leaves_it(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.png").symlink_to(save(tmp_path / "outside.png", picture(0)))
    message = faults_of(tmp_path / "root", [{"path": "link.png", "label": "a"}])
    assert "path 'link.png' leaves the list's folder." in message


def test_missing_columns_are_named_beside_those_found(tmp_path):
    message = faults_of(tmp_path, [{"file": "1.png"}])
    assert "column label and path missing; found ['file']" in message


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_a_file_that_is_no_table_is_a_data_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=rf"{name}: cannot be read as a table"):
        open_dataset(entry("manifest", name), tmp_path)


def test_a_list_without_rows_is_a_data_error(tmp_path):
    (tmp_path / "list.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="mine"):
        open_dataset(entry("manifest", "list.csv"), tmp_path)


def test_leaving_every_case_out_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="mine"):
        open_list(tmp_path, listed(tmp_path, "1.png"), exclude={"1.png": "blurred"})


def test_a_class_that_exclusion_empties_is_named(tmp_path):
    rows = [*listed(tmp_path, "1.png", label="a"), {"path": save(tmp_path / "2.png", picture(2)).name, "label": "b"}]
    with pytest.raises(DataError, match="'mine': no case of class b"):
        open_list(tmp_path, rows, classes=("a", "b"), exclude={"2.png": "blurred"})


# ---- a data set in memory --------------------------------------------------------------------------------------------


def in_memory(*labels: str | None, **more) -> Dataset:
    samples = [
        Sample(Case(f"{i}", label), picture(i), np.eye(*SHAPE, dtype=bool), Spacing(0.1, 0.1), f"g{i}", f"p{i}")
        for i, label in enumerate(labels)
    ]
    return Dataset(entry("manifest", "", **more), tuple(samples))


def test_a_case_without_a_label_is_no_class():
    assert in_memory("b", None, "a").labels.tolist() == [1, -1, 0]


def test_a_side_keeps_the_classes_that_it_lacks():
    side = in_memory("a", "b", "c").subset([2])
    assert (side.classes, side.labels.tolist()) == (("a", "b", "c"), [2])


def test_the_content_hash_does_not_depend_on_the_order_of_reading():
    data = in_memory("a", "b", "c")
    assert data.subset([2, 0, 1]).content_hash == data.content_hash


@pytest.mark.parametrize(
    "change",
    [
        {"case": Case("0", "b")},
        {"case": Case("other", "a")},
        {"mask": np.zeros(SHAPE, bool)},
        {"mask": None},
        {"spacing": Spacing(0.1, 0.2)},
        {"spacing": None},
        {"group_id": "g1"},
        {"pixel_hash": "p1"},
    ],
    ids=str,
)
def test_the_content_hash_changes_with_everything_that_can_change_a_result(change):
    data = in_memory("a", "b")
    changed = Dataset(data.spec, (replace(data.samples[0], **change), *data.samples[1:]))
    assert changed.content_hash != data.content_hash


def test_verifying_counts_what_lies_on_disk(tmp_path):
    for i, name in enumerate(["a/1.png", "a/2.png", "b/1.png"]):
        save(tmp_path / "mine" / name, picture(i, (20 + i, 30)))
    report = verify_dataset(entry("imagefolder", "mine", tasks=("classification",), n_images=5), tmp_path)
    assert not report.faults
    expected = {"images found": 3, "images published": 5, "images by class": {"a": 2, "b": 1}, "height": [20, 22]}
    assert expected.items() <= report.facts.items()


def test_verifying_finds_equal_pixels_under_different_labels(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        save(tmp_path / "mine" / name, picture(0))
    (fault,) = verify_dataset(entry("imagefolder", "mine", tasks=("classification",)), tmp_path).faults
    assert fault == "Same pixels, different labels: a/1.png, a/2.png, b/1.png. Exclude them by name."


def test_verifying_accepts_contradictions_that_are_left_out_by_name(tmp_path):
    for name in ("a/1.png", "b/1.png"):
        save(tmp_path / "mine" / name, picture(0))
    report = verify_dataset(
        entry("imagefolder", "mine", tasks=("classification",), exclude={"b/1.png": "twin of a/1.png"}), tmp_path
    )
    assert not report.faults
    assert report.facts["left out by name"] == {"b/1.png": "twin of a/1.png"}


def test_verifying_reports_faults_and_goes_on(tmp_path):
    save(tmp_path / "mine" / "a" / "1.png", picture(0))
    (tmp_path / "mine" / "a" / "2.png").write_bytes(b"")
    report = verify_dataset(entry("imagefolder", "mine", tasks=("classification",)), tmp_path)
    assert [str(tmp_path / "mine" / "a" / "2.png") in fault for fault in report.faults] == [True]
    assert report.facts["images found"] == 2


def test_verifying_a_missing_folder_raises(tmp_path):
    with pytest.raises(DataError, match="is not at"):
        verify_dataset(entry("imagefolder", "nowhere"), tmp_path)


def test_verifying_finds_images_without_the_mask_that_segmentation_needs(tmp_path):
    save(tmp_path / "mine" / "a" / "1.png", picture(0))
    (fault,) = verify_dataset(entry("imagefolder", "mine", tasks=("segmentation",)), tmp_path).faults
    assert fault == "a/1.png: has no mask, not even an empty one."


def test_further_columns_are_those_that_the_entry_names(tmp_path):
    rows = [row | {"Device": "A"} for row in listed(tmp_path, "1.png", "2.png")]
    with pytest.raises(DataError, match=r"options: \{columns: \[Device\]\}"):
        open_list(tmp_path, rows)
    assert len(open_list(tmp_path, rows, options={"columns": ["Device"]})) == 2
    with pytest.raises(DataError, match=r"has no column Devise, .* Did you mean 'Device'"):
        open_list(tmp_path, rows, options={"columns": ["Devise"]})


def test_a_misspelt_column_is_refused_since_it_would_switch_grouping_off(tmp_path):
    rows = [row | {"patients": "p"} for row in listed(tmp_path, "1.png", "2.png")]
    with pytest.raises(DataError, match=r"unknown column patients; known: .* Did you mean 'patient'\?"):
        open_list(tmp_path, rows)


def test_a_patient_is_given_for_every_row_or_for_none(tmp_path):
    first, second = listed(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match="row 3: patient is empty"):
        open_list(tmp_path, [first | {"patient": "p"}, second | {"patient": ""}])


def test_verifying_says_how_the_data_would_be_divided_or_why_not(tmp_path):
    for i in range(8):
        save(tmp_path / "mine" / "ab"[i % 2] / f"{i}.png", picture(i))
    few = verify_dataset(entry("imagefolder", "mine", tasks=("classification",)), tmp_path)
    assert few.facts["training, validation, test"] == ", ".join(
        ["4 images in 4 groups", "2 images in 2 groups", "2 images in 2 groups"]
    )
    save(tmp_path / "mine" / "c" / "1.png", picture(9))
    alone = verify_dataset(entry("imagefolder", "mine", tasks=("classification",)), tmp_path)
    assert "class 'c' has 1 group" in alone.facts["training, validation, test"]
