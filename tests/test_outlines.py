"""Outlines become the masks that geometry says; readers of outlines name each fault and go on with the others."""

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from PIL import Image as Pillow

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.add.adding import Request, add_dataset
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset, open_reader
from usfm_bench.data.readers.polygons import fill_ellipse, fill_polygons
from usfm_bench.data.readers.run_lengths import decode_runs
from usfm_bench.specs.dataset import DatasetSpec, load_registry

SHAPE = (24, 32)
SQUARE = [4, 6, 14, 6, 14, 16, 4, 16]  # 10 x 10 between corners


def picture(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path)


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def entry(layout: str, options: dict | None = None, **more) -> DatasetSpec:
    facts = {"version": 1, "title": "mine", "tasks": ("segmentation",), "organ": "breast", "path": "mine"}
    return DatasetSpec(name="mine", layout=layout, options=options or {}, **facts | more)


def faults_of(root: Path, spec: DatasetSpec) -> list[str]:
    with pytest.raises(DataError) as error:
        open_dataset(spec, root)
    found = verify_dataset(spec, root).faults
    assert set(found) >= set(str(error.value).split("\n"))
    return found


def masks(data: Dataset) -> dict[str, int]:
    return {s.case.case_id: int(s.mask.sum()) for s in data.samples if s.mask is not None}


# ---- filling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([(0, 0), (10, 0), (10, 10), (0, 10)], 100),
        ([(0, 10), (10, 10), (10, 0), (0, 0)], 100),  # the other way round
        ([(3, 2), (13, 2), (13, 12), (3, 12), (3, 2)], 100),  # closed
        ([(0.4, 0.4), (10.4, 0.4), (10.4, 10.4), (0.4, 10.4)], 100),
        ([(0.5, 0.5), (3.5, 0.5), (3.5, 2.5), (0.5, 2.5)], 6),
        ([(0, 0), (10, 0), (0, 10)], 45),  # pycocotools 2.0.10 has 45 too
        ([(-5, -5), (5, -5), (5, 5), (-5, 5)], 25),  # cut by the picture's corner
        ([(-9, -9), (90, -9), (90, 90), (-9, 90)], 24 * 32),
        ([(0, 0), (8, 0), (8, 8), (0, 8), (0, 0), (2, 2), (2, 6), (6, 6), (6, 2), (2, 2)], 64 - 16),  # a bridged hole
        ([(0, 0), (10, 10), (10, 0), (0, 10)], 50),  # crosses itself: even-odd
        ([(2.6, 2), (2.9, 2), (2.9, 9), (2.6, 9)], 0),  # between the centres of two columns
    ],
)
def test_a_polygon_has_the_pixels_whose_centres_it_encloses(points, area):
    mask = fill_polygons([np.array(points, float)], SHAPE, "corner")
    assert mask.sum() == pytest.approx(area, abs=0 if len(points) != 4 or points[1] != (10, 10) else 10)
    moved = np.array(points, float) - 0.5  # the same polygon, counted from centres
    np.testing.assert_array_equal(fill_polygons([moved], SHAPE, "centre"), mask)


numbers = st.integers(-9000, 40_000).map(lambda n: n / 1000)
polygons = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=9)


@given(polygons)
@settings(max_examples=60, deadline=None)
def test_filling_agrees_with_crossings_counted_pixel_by_pixel(points):
    array = np.array(points)
    assume((array.max(0) > 0).all() and array[:, 0].min() < SHAPE[1] and array[:, 1].min() < SHAPE[0])
    expected = np.zeros(SHAPE, bool)
    for row, column in np.ndindex(SHAPE):
        x, y, inside = column + 0.5, row + 0.5, False
        for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
            if (y1 <= y) != (y2 <= y):
                (x1, y1), (x2, y2) = sorted([(x1, y1), (x2, y2)], key=lambda p: p[1])
                inside ^= x >= x1 + (y - y1) / (y2 - y1) * (x2 - x1)
        expected[row, column] = inside
    found = fill_polygons([array], SHAPE, "corner")
    assert np.count_nonzero(found != expected) <= 1  # a centre on an edge, by the last bit


@given(st.integers(0, 10_000), st.integers(5, 60))
@settings(max_examples=30, deadline=None)
def test_a_simple_polygon_is_that_of_matplotlib(seed, corners):
    rng = np.random.default_rng(seed)
    angles, radii = np.sort(rng.uniform(0, 2 * np.pi, corners)), rng.uniform(4, 11, corners)
    points = np.stack([16 + radii * np.cos(angles), 12 + radii * np.sin(angles)], axis=1)
    rows, columns = np.indices(SHAPE)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    # Winding and even-odd agree for polygons that do not cross themselves.
    np.testing.assert_array_equal(
        fill_polygons([points], SHAPE, "corner"), Polygon(points).contains_points(centres).reshape(SHAPE)
    )


@pytest.mark.parametrize("radius", [3.3, 7.5, 10.0])
def test_a_circle_has_its_area_and_its_middle_however_it_is_drawn(radius):
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    points = np.stack([16 + radius * np.cos(turn), 12 + radius * np.sin(turn)], axis=1)
    mask = fill_polygons([points], SHAPE, "corner")
    assert mask.sum() == pytest.approx(math.pi * radius**2, rel=0.08)
    assert np.argwhere(mask).mean(axis=0) + 0.5 == pytest.approx([12, 16], abs=0.1)
    ellipse = fill_ellipse((15.5, 11.5), (2 * radius, 2 * radius), 30, SHAPE)
    assert np.count_nonzero(ellipse != mask) <= 4


def test_neighbours_that_share_a_side_share_no_pixel_and_leave_none():
    left, right = ([(0, 0), (7.5, 0), (3.2, 20), (0, 20)], [(7.5, 0), (20, 0), (20, 20), (3.2, 20)])
    parts = [fill_polygons([np.array(part)], SHAPE, "corner") for part in (left, right)]
    assert not (parts[0] & parts[1]).any()
    assert (parts[0] | parts[1]).sum() == 400


def test_a_polygon_that_does_not_meet_the_picture_is_refused():
    with pytest.raises(ValueError, match="outside the picture"):
        fill_polygons([np.array([(40.0, 0), (50, 0), (50, 9)])], SHAPE, "corner")


# ---- run lengths: the texts are pycocotools' -------------------------------------------------------------------------

ROWS = [
    *("110111000", "001010100", "000111111", "001111110", "000111111", "001001000", "000011000"),
]


@pytest.mark.parametrize(
    ("counts", "shape", "expected"),
    [
        ("016010J000000212OM030O3O0NM01", (7, 9), np.array([[c == "1" for c in row] for row in ROWS])),
        ("`j8l6`2" + "0" * 277 + "Ph8", (300, 200), np.pad(np.ones((220, 140), bool), ((40, 40), (30, 30)))),
    ],
)
def test_compressed_run_lengths_are_those_of_pycocotools(counts, shape, expected):
    np.testing.assert_array_equal(decode_runs({"size": list(shape), "counts": counts}, shape), expected)
    flat = expected.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    runs = np.diff(np.concatenate([[0], edges])).tolist()
    np.testing.assert_array_equal(decode_runs({"size": list(shape), "counts": runs}, shape), expected)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"size": [2, 3], "counts": [6]}, "run lengths for 3 x 2 px; its picture is 32 x 24"),
        ({"size": [24, 32], "counts": [767]}, "767 pixels in all; its picture has 768"),
        ({"size": [24, 32], "counts": [-1, 769]}, "no numbers of pixels"),
        ({"size": [24, 32], "counts": "\t"}, "means nothing"),
        ({"size": [24, 32], "counts": "P"}, "end within a number"),
        ({"counts": [768]}, "without a size"),
    ],
)
def test_run_lengths_that_cannot_be(runs, message):
    with pytest.raises(ValueError, match=message):
        decode_runs(runs, SHAPE)


# ---- COCO ------------------------------------------------------------------------------------------------------------

COCO = {"annotations": "all.json", "images": "images"}


def coco(root: Path, segmentations: dict[str, object], **more) -> dict:
    """One image and one annotation each, unless the segmentation is None."""
    folder = root / "mine"
    for i, name in enumerate(segmentations):
        save(folder / "images" / name, picture(i))
    content = {
        "images": [{"id": i, "file_name": n, "width": 32, "height": 24} for i, n in enumerate(segmentations)],
        "categories": [{"id": 1, "name": "benign"}, {"id": 2, "name": "malignant"}],
        "annotations": [
            {"id": 70 + i, "image_id": i, "category_id": 1 + i % 2, "bbox": [1, 1, 5, 5], "segmentation": s}
            for i, s in enumerate(segmentations.values())
            if s is not None
        ],
    } | more
    write(folder / "all.json", content)
    return content


def test_coco_polygons_parts_and_run_lengths(tmp_path):
    runs = [4 * 24 + 6] + [10, 14] * 9 + [10, 24 * 32 - (4 * 24 + 6) - 10 * 10 - 9 * 14]
    everything = {
        "a/square.png": [SQUARE],
        "b.png": [SQUARE, [20, 0, 22, 0, 22, 2, 20, 2]],  # parts are united
        "c.png": {"size": [24, 32], "counts": runs},
        "d.png": SQUARE,  # without the list of parts
        "bare.png": None,
    }
    content = coco(tmp_path, everything)
    content["images"][1]["file_name"] = ".\\b.png"  # as tools on Windows write it
    content["annotations"][2]["iscrowd"] = 1
    write(tmp_path / "mine" / "all.json", content)
    data = open_dataset(entry("coco", COCO), tmp_path)
    assert masks(data) == {"a/square.png": 100, "b.png": 104, "c.png": 100, "d.png": 100}
    assert data.samples[0].mask[6:16, 4:14].all()
    np.testing.assert_array_equal(data.samples[0].mask, data.samples[2].mask)
    assert data.notes == ("1 crowd regions (iscrowd) count as outlines", "left out 1 images without an outline")
    both = entry("coco", COCO | {"no_outline": "empty"}, classes=("benign", "malignant", "normal"))
    labels = {s.case.case_id: s.case.label for s in open_dataset(both, tmp_path).samples}
    assert labels["bare.png"] == "normal"


WRONG = {
    "box.png": ([], "annotation 70 of image 'box.png' has a box at most, and no outline"),
    "two.png": ([[1, 2, 3, 4]], "annotation 71 of image 'two.png' has 2 points; three are needed"),
    "odd.png": ([[1, 2, 3, 4, 5, 6, 7]], "annotation 72 of image 'odd.png' has 7 numbers"),
    "nan.png": ([[1, 2, 3, math.nan, 5, 6]], "annotation 73 of image 'nan.png' has a coordinate that is no number"),
    "text.png": ([["a", 2, 3, 4, 5, 6]], "annotation 74 of image 'text.png' is no list of coordinates"),
    "far.png": ([[90, 90, 99, 90, 99, 99]], "far.png: annotation 75 lies outside the picture."),
    "thin.png": ([[4.6, 1, 4.9, 1, 4.9, 9]], "thin.png: annotation 76 covers no pixel's centre."),
    "size.png": ({"size": [9, 9], "counts": [81]}, "annotation 77 has run lengths for 9 x 9 px"),
}


def test_every_bad_outline_is_named_and_the_others_go_on(tmp_path):
    coco(tmp_path, {name: wrong for name, (wrong, _) in WRONG.items()} | {f"{i}.png": [SQUARE] for i in range(9)})
    faults = faults_of(tmp_path, entry("coco", COCO))
    assert len(faults) == len(WRONG)
    for _, message in WRONG.values():
        assert sum(message in fault for fault in faults) == 1, (message, faults)
    without = entry("coco", COCO, exclude=dict.fromkeys(WRONG, "bad outline"))
    assert masks(open_dataset(without, tmp_path)) == {f"{i}.png": 100 for i in range(9)}
    assert not verify_dataset(without, tmp_path).faults


def test_annotations_of_another_size_are_a_fault_of_their_image(tmp_path):
    content = coco(tmp_path, {"a.png": [SQUARE], "b.png": [SQUARE]})
    content["images"][0] |= {"width": 64, "height": 48}
    write(tmp_path / "mine" / "all.json", content)
    (fault,) = faults_of(tmp_path, entry("coco", COCO))
    assert fault.endswith("a.png: is 32 x 24 px; its outlines are for 64 x 48. Take the files that were annotated.")


def test_coco_lists_that_contradict_themselves_are_named_in_one_pass(tmp_path):
    content = coco(tmp_path, {f"{i}.png": [SQUARE] for i in range(4)})
    content["images"] += [
        {"id": 0, "file_name": "other.png"},
        {"id": 9, "file_name": "1.png"},
        {"id": 10, "file_name": "../out.png"},
        {"id": 11, "file_name": "deep/3.png"},
        {"id": 12},
        {"id": 13, "file_name": "x.png", "width": "wide", "height": 9},
    ]
    content["annotations"] += [
        {"id": 90, "image_id": 77, "category_id": 1, "segmentation": [SQUARE]},
        {"id": 91, "image_id": 2, "category_id": 9, "segmentation": [SQUARE]},
        {"id": 92, "image_id": 11, "category_id": 1, "segmentation": [SQUARE]},
        7,
    ]
    write(tmp_path / "mine" / "all.json", content)
    faults = faults_of(tmp_path, entry("coco", COCO))
    for message in (
        "'0.png' and 'other.png' have the image id 0.",
        "'1.png' has the image ids 1 and 9.",
        "'../out.png' leaves the data set's folder.",
        "annotation 90 names the image id 77, which is not in the list of images.",
        "annotation 91 of image '2.png' names the category id 9",
        "deep/3.png: is annotated and not here. 'images/3.png' has its name",
        "image 9 of the list has no id, or no file_name.",
        "'x.png': width 'wide', height 9 are no size.",
        "an annotation is no mapping.",
    ):
        assert sum(message in fault for fault in faults) == 1, (message, faults)
    assert len(faults) == 9


def test_coco_without_categories_can_segment_and_not_classify(tmp_path):
    coco(tmp_path, {"a.png": [SQUARE]}, categories=[])
    assert masks(open_dataset(entry("coco", COCO), tmp_path)) == {"a.png": 100}
    (fault,) = faults_of(tmp_path, entry("coco", COCO, tasks=("segmentation", "classification")))
    assert "has no categories" in fault


def test_the_classes_of_an_entry_choose_outlines(tmp_path):
    content = coco(tmp_path, {"a.png": [SQUARE], "b.png": [SQUARE]})
    content["annotations"].append({"id": 99, "image_id": 0, "category_id": 2, "segmentation": []})
    write(tmp_path / "mine" / "all.json", content)
    data = open_dataset(entry("coco", COCO, classes=("benign",)), tmp_path)
    assert masks(data) == {"a.png": 100}
    assert data.notes == ("left out 1 images with outlines of other classes alone",)


@pytest.mark.parametrize("content", ["[1]", "{}", '{"images": 1, "annotations": []}', "{", '{"images": []}'])
def test_what_is_no_coco_file(tmp_path, content):
    save(tmp_path / "mine" / "images" / "a.png", picture())
    write(tmp_path / "mine" / "all.json", content)
    (fault,) = faults_of(tmp_path, entry("coco", COCO))
    assert "all.json: " in fault


# ---- YOLO ------------------------------------------------------------------------------------------------------------

UNIT = "0.125 0.25 0.4375 0.25 0.4375 0.6666667 0.125 0.6666667"  # SQUARE in shares of 32 x 24


def yolo(
    root: Path, lines: dict[str, str], folder: str = "labels/{}", names: str = "names: [benign, malignant]"
) -> None:
    for i, (name, text) in enumerate(lines.items()):
        place = folder.format(name)
        save(root / "mine" / f"{place.replace('labels', 'images')}.png", picture(i))
        write(root / "mine" / f"{place}.txt", text)
    if names:
        write(root / "mine" / "data.yaml", names)


@pytest.mark.parametrize("folder", ["labels/train/{}", "train/labels/{}", "a b/labels/{}"])
def test_yolo_polygons(tmp_path, folder):
    yolo(
        tmp_path,
        {"a": f"1 {UNIT}\n", "b": f"0 {UNIT}\n0 0.5 0 0.5625 0 0.5625 0.0833333 0.5 0.0833333\n", "c": ""},
        folder,
    )
    data = open_dataset(entry("yolo", tasks=("segmentation", "classification")), tmp_path)
    assert [int(s.mask.sum()) for s in data.samples] == [100, 104]
    assert [s.case.label for s in data.samples] == ["malignant", "benign"]
    assert "left out 1 images without an outline" in data.notes
    assert len(open_dataset(entry("yolo", {"no_outline": "empty"}), tmp_path)) == 3


def test_yolo_sides_and_names(tmp_path):
    for side in ("train", "valid", "test"):
        yolo(tmp_path, {f"p1_{side}": f"0 {UNIT}"}, f"{side}/labels/{{}}", names="")
    write(tmp_path / "mine" / "classes.txt", "cyst\n")
    data = open_dataset(entry("yolo", {"patient": r"(p\d)_"}), tmp_path)
    assert [(s.case.split, s.case.label, s.case.patient) for s in data.samples] == [
        (side, "cyst", "p1") for side in ("test", "train", "val")
    ]


def test_faults_of_yolo_files(tmp_path):
    wrong = {
        "box": ("0 0.5 0.5 0.2 0.2", "box.txt: line 1 is a box, not an outline"),
        "class": (f"7 {UNIT}", "class.txt: line 1 is of class 7; the file of names has 2 classes"),
        "px": ("0 12 3 14 3 14 9", "px.txt: line 1 has coordinates that are no shares"),
        "word": (f"x {UNIT}", "word.txt: line 1 begins with 'x'"),
        "few": ("0 0.1 0.1 0.2 0.2 0.3", "few.txt: line 1 has 5 numbers"),
        "nan": ("0 nan 0.1 0.2 0.2 0.3 0.3", "nan.txt: line 1 has a coordinate that is no number"),
    }
    yolo(tmp_path, {name: text for name, (text, _) in wrong.items()} | {"fine": f"0 {UNIT}"})
    write(tmp_path / "mine" / "labels" / "lost.txt", f"0 {UNIT}")
    faults = faults_of(tmp_path, entry("yolo"))
    for _, message in wrong.values():
        assert sum(message in fault for fault in faults) == 1, (message, faults)
    assert sum("lost.txt: holds outlines of no image" in fault for fault in faults) == 1
    assert len(faults) == len(wrong) + 1


# ---- labelme ---------------------------------------------------------------------------------------------------------


def labelme(root: Path, name: str, *shapes: tuple[str, list], **more) -> None:
    save(root / "mine" / f"{name}.png", picture(len(name)))
    content = {
        "version": "5.4.1",
        "shapes": [{"label": "benign", "points": points, "shape_type": kind} for kind, points in shapes],
        "imagePath": f"{Path(name).name}.png",
        "imageData": base64.b64encode(b"x").decode(),
        "imageHeight": 24,
        "imageWidth": 32,
    }
    write(root / "mine" / f"{name}.json", content | more)


def test_labelme_shapes(tmp_path):
    labelme(tmp_path, "a", ("polygon", [[4, 6], [14, 6], [14, 16], [4, 16]]))
    labelme(tmp_path, "b/rect", ("rectangle", [[14, 16], [4, 6]]))
    labelme(tmp_path, "circle", ("circle", [[16, 12], [16, 17]]))
    labelme(tmp_path, "none")
    write(tmp_path / "mine" / "settings.json", {"a": 1})
    data = open_dataset(entry("labelme"), tmp_path)
    areas = masks(data)
    assert (areas["a.png"], areas["b/rect.png"]) == (100, 100)
    assert areas["circle.png"] == pytest.approx(math.pi * 25, rel=0.05)
    assert {s.case.label for s in data.samples} == {"benign"}
    assert set(data.notes) == {
        "'settings.json' holds no `shapes` and is passed over",
        "left out 1 images without an outline",
    }


def test_faults_of_labelme_files(tmp_path):
    labelme(tmp_path, "line", ("linestrip", [[1, 1], [2, 2], [3, 3]]))
    labelme(tmp_path, "point", ("point", [[1, 1]]), ("polygon", [[1, 1], [5, 1]]))
    labelme(tmp_path, "size", ("rectangle", [[1, 1], [5, 5]]), imageWidth=320)
    labelme(tmp_path, "gone", ("rectangle", [[1, 1], [5, 5]]))
    (tmp_path / "mine" / "gone.png").unlink()
    labelme(tmp_path, "both", ("rectangle", [[1, 1], [5, 5]]), imagePath="fine.png")
    labelme(tmp_path, "fine", ("rectangle", [[1, 1], [5, 5]]))
    write(tmp_path / "mine" / "broken.json", "{")
    faults = faults_of(tmp_path, entry("labelme"))
    for message in (
        "line.json: shape 1 is a 'linestrip'; polygon, rectangle and circle are outlines.",
        "point.json: shape 1 is a 'point'; polygon, rectangle and circle are outlines, shape 2 has 2 points; three are",
        "size.png: is 32 x 24 px; its outlines are for 320 x 24.",
        "gone.json: 'gone.png' is not here.",
        "both.json: could be of both.png and fine.png; `imagePath` is 'fine.png'.",
        "broken.json: cannot be read as JSON",
    ):
        assert sum(message in fault for fault in faults) == 1, (message, faults)
    assert len(faults) == 6


# ---- arrays ----------------------------------------------------------------------------------------------------------


def test_arrays_of_masks_with_their_split(tmp_path):
    lesions = np.zeros((4, *SHAPE), np.uint8)
    lesions[:, 6:16, 4:14] = 1
    parts = {
        f"{side}_{kind}": a
        for side in ("train", "val", "test")
        for kind, a in [("images", picture(0, (4, *SHAPE))), ("label", lesions)]
    }
    np.savez_compressed(tmp_path / "mine.npz", **parts)
    data = open_dataset(entry("arrays", path="mine.npz"), tmp_path)
    assert len(data) == 12
    assert {(s.case.split, int(s.mask.sum())) for s in data.samples} == {("train", 100), ("val", 100), ("test", 100)}
    np.testing.assert_array_equal(data.samples[0].image, picture(0, (4, *SHAPE))[0])


def test_arrays_of_classes_in_colour_and_in_single_files(tmp_path):
    (tmp_path / "mine").mkdir()
    images = np.zeros((3, *SHAPE, 3), np.uint8)
    images[..., 0] = 200  # red
    np.save(tmp_path / "mine" / "images.npy", images)
    np.save(tmp_path / "mine" / "labels.npy", np.array([[0], [1], [1]]))
    spec = entry("arrays", {"names": ["malignant", "benign"]}, tasks=("classification",))
    data = open_dataset(spec, tmp_path)
    assert [s.case.label for s in data.samples] == ["malignant", "benign", "benign"]
    assert data.samples[0].image[0, 0] == round(0.299 * 200)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 9, 9), np.float32)}, "'images' is float32; images have 8 or 16 bits"),
        ({"images": np.zeros((9, 9), np.uint8)}, "'images' has the shape (9, 9)"),
        ({"images": np.array([{}], object)}, "'images' holds Python objects"),
        ({"pictures": np.zeros((3, 9, 9), np.uint8)}, "no array is called 'images'"),
        (
            {"images": np.zeros((3, 9, 9), np.uint8), "masks": np.zeros((3, 8, 9), np.uint8)},
            "neither a mask nor a class",
        ),
        ({"images": np.zeros((3, 9, 9), np.uint8), "labels": np.zeros((2,), int)}, "neither a mask nor a class"),
        (
            {"images": np.zeros((3, 9, 9), np.uint8), "labels": np.zeros(3, int), "label": np.zeros(3, int)},
            "'labels' and 'label' are of 'images' alike",
        ),
    ],
)
def test_faults_of_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    assert any(message in fault for fault in faults_of(tmp_path, entry("arrays", path="mine.npz")))


def test_arrays_that_claim_too_much_are_refused_by_their_headers(tmp_path):
    (tmp_path / "mine").mkdir()
    with (tmp_path / "mine" / "images.npy").open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (90_000, 1000, 1000)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + 90_000 * 10**6)  # a hole in the file, which takes no room
    assert "claim more than 4 GiB" in faults_of(tmp_path, entry("arrays"))[0]
    with (tmp_path / "mine" / "images.npy").open("r+b") as stream:
        stream.truncate(1000)
    assert "its header promises 90000000000" in faults_of(tmp_path, entry("arrays"))[0]


def test_what_is_no_archive_of_arrays(tmp_path):
    (tmp_path / "mine.npz").write_bytes(b"PK\x03\x04 and nothing")
    assert "cannot be read as arrays" in faults_of(tmp_path, entry("arrays", path="mine.npz"))[0]


# ---- files of one name -----------------------------------------------------------------------------------------------


def hc18(root: Path) -> Path:
    rows, columns = np.indices((60, 80))
    ring = np.abs(np.hypot((columns - 40) / 1.5, rows - 30) - 20) < 0.7
    for name in ("010_HC", "011_HC"):
        save(root / "mine" / "training_set" / f"{name}.png", picture(int(name[:3]), (60, 80)))
        save(root / "mine" / "training_set" / f"{name}_Annotation.png", ring.astype(np.uint8) * 255)
    lines = ["filename,pixel size(mm),head circumference (mm)", "010_HC.png,0.1,50", "011_HC.png,0.1,50"]
    write(root / "mine" / "training_set_pixel_size_and_HC.csv", "\n".join(lines))
    return root / "mine"


def test_an_image_elsewhere_replaces_none_of_the_training_set(tmp_path):
    root = hc18(tmp_path)
    before = open_dataset(entry("hc18"), tmp_path)
    save(root / "zz" / "010_HC.png", picture(99, (60, 80)))
    save(root / "test_set" / "010_HC.png", picture(98, (60, 80)))
    save(root / "zz" / "010_HC_Annotation.png", np.zeros((60, 80), np.uint8))
    data = open_dataset(entry("hc18"), tmp_path)
    assert data.content_hash == before.content_hash
    assert "2 files elsewhere have the name of one at its published place, and are not read" in data.notes


def test_two_files_of_one_name_of_which_none_is_at_its_place_are_a_fault_that_names_both(tmp_path):
    root = hc18(tmp_path)
    (root / "training_set").rename(root / "set A")
    assert len(open_dataset(entry("hc18"), tmp_path)) == 2  # anywhere, as long as it is the only one
    save(root / "set B" / "010_HC.png", picture(99, (60, 80)))
    (fault,) = faults_of(tmp_path, entry("hc18"))
    assert "'set A/010_HC.png', 'set B/010_HC.png' could each be 'training_set/010_HC.png'" in fault


def ddti(root: Path, folder: str = "", name: str = "1", outline: object = None) -> None:
    points = [{"x": x, "y": y} for x, y in ([4, 6], [14, 6], [14, 16], [4, 16])]
    shape = [{"points": points if outline is None else outline, "regionType": "freehand"}]
    write(
        root / "mine" / folder / f"{name}.xml",
        f"<case><mark><image>1</image><svg>{json.dumps(shape)}</svg></mark></case>",
    )
    save(root / "mine" / folder / f"{name}_1.jpg", picture(int(name)))


def test_ddti_files_of_one_name(tmp_path):
    ddti(tmp_path)
    before = open_dataset(entry("ddti"), tmp_path)
    assert masks(before) == {"1_1": 100}
    ddti(tmp_path, "copy", outline=[{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}])
    assert open_dataset(entry("ddti"), tmp_path).content_hash == before.content_hash
    for name in ("1.xml", "1_1.jpg"):
        (tmp_path / "mine" / "other").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).rename(tmp_path / "mine" / "other" / name)
    faults = faults_of(tmp_path, entry("ddti"))
    assert "'copy/1.xml', 'other/1.xml' could each be '1.xml'" in faults[0]
    assert "'copy/1_1.jpg', 'other/1_1.jpg' could each be '1_1.jpg'" in faults[1]


# ---- an outline that covers nothing is a fault in every reader -------------------------------------------------------


def test_no_annotated_image_opens_as_one_without_a_lesion(tmp_path):
    line = [{"x": 1.2, "y": 1.1}, {"x": 1.8, "y": 1.1}, {"x": 1.8, "y": 1.9}]
    ddti(tmp_path / "ddti", outline=line)
    (fault,) = faults_of(tmp_path / "ddti", entry("ddti"))
    assert fault.endswith("1_1.jpg: outline 1 covers no pixel's centre.")
    yolo(tmp_path / "yolo", {"a": "0 0.04 0.01 0.045 0.01 0.045 0.9", "b": f"0 {UNIT}"})
    (fault,) = faults_of(tmp_path / "yolo", entry("yolo"))
    assert "a.png: line 1 of 'a.txt' covers no pixel's centre." in fault
    labelme(tmp_path / "labelme", "a", ("rectangle", [[1.6, 1], [1.9, 9]]))
    (fault,) = faults_of(tmp_path / "labelme", entry("labelme"))
    assert "a.png: shape 1 covers no pixel's centre." in fault


def test_an_outline_of_a_layout_is_read_by_its_reader(tmp_path):
    coco(tmp_path, {"a.png": [SQUARE]})
    reader = open_reader(entry("coco", COCO), tmp_path)
    (case,) = reader.cases()
    assert case.label == "benign"


# ---- `data add` ------------------------------------------------------------------------------------------------------


def added(tmp_path: Path, **more) -> tuple[str, Dataset]:
    """The layout that is written for the folder `mine`, and what it opens."""
    registry = tmp_path / "sets.yaml"
    add_dataset(Request("new", tmp_path / "mine", tmp_path, registry, **more))
    spec = load_registry(registry)["new"]
    return spec.layout, open_dataset(spec, tmp_path)


def test_adding_a_folder_with_coco_annotations_beside_the_images(tmp_path):
    coco(tmp_path, {f"{i}.png": [SQUARE] for i in range(12)})
    layout, data = added(tmp_path)
    assert (layout, data.classes, len(data)) == ("coco", ("benign", "malignant"), 12)
    assert all(s.mask.sum() == 100 for s in data.samples)


def test_adding_finds_the_folder_that_coco_names_are_relative_to(tmp_path):
    content = coco(tmp_path, {f"deep/{i}.png": [SQUARE] for i in range(8)})
    for image in content["images"]:
        image["file_name"] = Path(image["file_name"]).name
    content["annotations"].append(content["annotations"][0] | {"category_id": 2})  # two classes: not to classify
    write(tmp_path / "mine" / "all.json", content)
    layout, data = added(tmp_path)
    assert (layout, data.spec.tasks, data.spec.options["images"]) == ("coco", ("segmentation",), "images/deep")


@pytest.mark.parametrize("folder", ["labels/{}", "labels/train/{}", "train/labels/{}"])
def test_adding_a_folder_of_yolo(tmp_path, folder):
    yolo(tmp_path, {f"p{i}_": f"{i % 2} {UNIT}" for i in range(12)}, folder)
    layout, data = added(tmp_path, patient=r"(p\d+)_")
    assert (layout, data.classes, len(set(data.groups))) == ("yolo", ("benign", "malignant"), 12)


def test_adding_a_folder_of_labelme(tmp_path):
    for i in range(8):
        labelme(tmp_path, "a" * (i + 1), ("rectangle", [[4, 6], [14, 16]]))
    assert added(tmp_path)[0] == "labelme"


def test_adding_a_file_of_arrays(tmp_path):
    (tmp_path / "mine").mkdir()
    lesions = np.zeros((8, *SHAPE), np.uint8)
    lesions[:, 6:16, 4:14] = 1
    images = {f"{side}_images": picture(i, (8, *SHAPE)) for i, side in enumerate(("train", "val", "test"))}
    np.savez(tmp_path / "mine" / "x.npz", **images, train_label=lesions, val_label=lesions, test_label=lesions)
    layout, data = added(tmp_path)
    assert (layout, len(data), data.spec.tasks) == ("arrays", 24, ("segmentation",))


def test_adding_boxes_says_that_they_are_no_outlines(tmp_path):
    coco(tmp_path, {f"{i}.png": [] for i in range(4)})
    with pytest.raises(BenchError, match=r"annotation 70 of image '0\.png' has a box at most, and no outline"):
        added(tmp_path)


@pytest.mark.parametrize(("layout", "near"), [("cocoo", "coco"), ("yollo", "yolo"), ("label-me", "labelme")])
def test_adding_with_an_unknown_layout_names_the_nearest(tmp_path, layout, near):
    with pytest.raises(BenchError, match=f"Did you mean '{near}'"):
        added(tmp_path, layout=layout)
