"""`data add` on folders as they are found in the field: read rightly, or refused in words."""

import csv
import gzip
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from usfm_bench.core.errors import BenchError
from usfm_bench.data.add.adding import Added, Request, add_dataset
from usfm_bench.data.add.doubts import cannot_be_lesion
from usfm_bench.data.add.folder_names import is_no_class
from usfm_bench.data.add.side_folders import part_side, view_sides
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.readers.tables import key_finder
from usfm_bench.specs.dataset import load_registry

SHAPE = (24, 32)
CLASSES = ("benign", "malignant")
SIDES = ("train", "val", "test")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/mine").mkdir(parents=True)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def blob(seed: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4 + seed % 3 : 15, 6 : 20 + seed % 5] = 255
    return mask


def save(path: str, pixels: np.ndarray) -> None:
    file = Path("data/mine", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cv2.imencode(file.suffix.lower(), pixels)[1].tobytes())


def write(images: str, masks: str = "", *, n: int = 12) -> None:
    for i in range(n):
        names = {"i": i, "c": CLASSES[i % 2], "s": SIDES[i % 3], "S": SIDES[i % 3].capitalize()}
        save(images.format(**names), picture(i))
        if masks:
            save(masks.format(**names), blob(i))


def table(name: str, rows: list[list[object]], separator: str = ",") -> None:
    with Path("data/mine", name).open("w", newline="") as stream:
        csv.writer(stream, delimiter=separator).writerows(rows)


def add(place: str = "data/mine", **more) -> Added:
    return add_dataset(Request("mine", Path(place), Path("data"), **more))


def opened() -> Dataset:
    return open_dataset(load_registry()["mine"], Path("data"))


def added(**more) -> Dataset:
    add(**more)
    data = opened()
    assert verify_dataset(data.spec, Path("data")).faults == []
    return data


def refused(match: str, **more) -> str:
    with pytest.raises(BenchError, match=match) as error:
        add(**more)
    assert not Path("datasets.yaml").exists()
    return str(error.value)


def check_pairs(data: Dataset) -> None:
    """Every picture has its own mask."""
    assert len(data) == 12
    for sample in data.samples:
        number = next(i for i in range(12) if np.array_equal(sample.image, picture(i)))
        assert np.array_equal(sample.mask, blob(number) > 0)


# ---- images and masks by other names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("Bilder/{i}.png", "Masken/{i}.png"),
        ("imágenes/{i:03d}.png", "máscaras/{i:03d}.png"),
        ("imgs/{i}.png", "labels/{i}.png"),
        ("img/{i}.png", "gt/{i}.png"),
        ("Image/{i:04d}.png", "Label/{i:04d}.png"),
        ("{i:03d}.png", "{i:03d}-seg.png"),
        ("{i}.png", "{i}_GT.png"),
        ("{i}.png", "{i}.mask.png"),
        ("a{i:02d}.png", "a{i:02d}_mask_1.png"),
    ],
)
def test_images_and_masks_in_other_words(images, masks):
    write(images, masks)
    check_pairs(added())


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{s}_images/{i}.png", "{s}_masks/{i}.png"),
        ("{S}Images/{i}.png", "{S}Masks/{i}.png"),
        ("images-{s}/{i}.png", "labels-{s}/{i}.png"),
        ("{s}/imgs/{i}.png", "{s}/labels/{i}.png"),
        ("images/{s}/{i}.png", "labels/{s}/{i}.png"),
        ("x/{s} Bilder/{i:03d}.png", "x/{s} Masken/{i:03d}_seg.png"),
    ],
)
def test_all_sides_are_read_whatever_level_names_them(images, masks):
    write(images, masks)
    data = added()
    check_pairs(data)
    assert [sum(sample.case.split == side for sample in data.samples) for side in SIDES] == [4, 4, 4]


@pytest.mark.parametrize("images", ["{s}_{c}/{i}.png", "{c}-{s}/{i}.png", "{c}/{s}/{i}.png", "{s}/{c}/{i}.png"])
def test_classes_and_sides_on_any_level(images):
    write(images, n=36)
    data = added()
    assert (data.classes, data.class_counts.tolist()) == (CLASSES, [18, 18])
    assert {sample.case.split for sample in data.samples} == {*SIDES}


def test_a_side_alone_is_not_read():
    write("{s}_images/{i}.png", "{s}_masks/{i}.png")
    for i in range(2, 12, 3):  # masks of the test side, called otherwise
        save(f"truth of test/{i}.png", blob(i))
        Path(f"data/mine/test_masks/{i}.png").unlink()
    refused("test")


def test_a_side_without_masks_is_not_empty():
    write("{s}/img/{i}.png", "{s}/seg/{i}.png")
    for path in Path("data/mine/test/seg").iterdir():
        path.unlink()
    assert "--no-mask" not in refused("No image of test has a mask")
    refused("No image of side 'test' has a mask with a lesion", no_mask="empty")


# ---- files that look like masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["_other1", "-axilla", "_cyst_2", ".node"])
def test_other_masks_never_become_images(word):
    write("p{i:02d}.png", "p{i:02d}_lesion.png")
    for i in (0, 1, 5):
        save(f"p{i:02d}{word}.png", blob(i + 1))
    for i in (8, 9, 11):
        Path(f"data/mine/p{i:02d}_lesion.png").unlink()
    told = refused("p08.png: has no mask file")
    assert word not in told.split("Read as")[0]
    found = add(no_mask="empty")
    assert (found.facts["images"], found.facts["with masks"]) == (12, 9)
    assert any("look like masks and belong to images: they are ignored" in note for note in found.notes)
    assert sum(not sample.mask.any() for sample in opened().samples) == 3


def test_masks_among_the_images_are_refused():
    write("{c}/{i}.png", n=60)
    for i in range(2):
        save(f"benign/outline{i}.png", blob(i))
    refused("2 of 62 images have 16 grey levels at most, as masks have: benign/outline0.png")


def test_inverted_masks_are_refused():
    write("images/{i}.png", "masks/{i}.png")
    for i in range(12):
        save(f"masks/{i}.png", 255 - blob(i))
    told = refused("12 of 12 masks cover most of their image and its edge")
    assert "values: {equals: [0]}" in told


def test_which_masks_cannot_be_lesions():
    hole, large = np.ones((40, 50), bool), np.zeros((40, 50), bool)
    hole[10:20, 10:20] = False
    large[2:-2, 2:-2] = True
    assert [cannot_be_lesion(mask) for mask in (hole, large, ~hole, hole | True)] == [True, False, False, True]


def test_masks_without_a_lesion_and_pictures_as_masks_are_refused():
    write("images/{i}.png", "masks/{i}.png")
    for i in range(12):
        save(f"masks/{i}.png", np.zeros(SHAPE, np.uint8))
    refused("No mask shows a lesion")
    for i in range(12):
        save(f"masks/{i}.png", picture(i + 50))
    refused("'masks' is called as masks are, but its files .* have tones of grey")
    table("list.csv", [["path", "mask"], *([f"images/{i}.png", f"masks/{i}.png"] for i in range(12))])
    refused("The mask files have tones of grey")


def test_swapped_folders_are_read_by_their_pixels_and_said():
    write("masks/{i}.png", "images/{i}.png")
    found = add()
    check_pairs(opened())
    assert any("by their grey levels, files like `images/{id}.png` are the masks" in note for note in found.notes)


# ---- classes that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folders",
    [
        ("images", "masks"),
        ("Bilder", "Masken"),
        ("lung_images", "image_dataset"),
        ("fold1", "fold2"),
        ("raw", "augmented"),
    ],
)
@pytest.mark.parametrize("layout", [None, "imagefolder"])
def test_folders_that_are_no_classes(folders, layout):
    for k, folder in enumerate(folders):
        for i in range(12):
            save(f"{folder}/{i}.png", picture(100 * k + i))
    refused("no two classes" if layout is None else "are no classes", layout=layout)


def test_the_folder_of_classes_below_is_named():
    for part in ("image_dataset", "cross_validation/split0"):
        for i in range(12):
            save(f"{part}/{CLASSES[i % 2]}/{i}.png", picture(i))
    told = refused("no two classes")
    assert "'image_dataset' holds folders benign, malignant" in told
    assert "usfm-bench data add mine data/mine/image_dataset" in told


def test_which_names_are_no_classes():
    none = ("images", "Masks", "cross_validation", "split0", "ground truth", "train", "pocus_images", "imgs")
    fine = ("benign", "label 1", "class2", "0", "positive_test", "fetal-head", "seg-lesion", "B", "no finding")
    assert all(map(is_no_class, none))
    assert not any(map(is_no_class, fine))


def test_images_under_two_labels_are_refused_when_many_and_left_out_when_few():
    for i in range(30):
        save(f"{CLASSES[i % 2]}/{i}.png", picture(i))
    save("malignant/again.png", picture(0))
    found = add()
    assert found.facts["left out"] == 2
    assert verify_dataset(load_registry()["mine"], Path("data")).faults == []
    assert len(opened()) == 29
    Path("datasets.yaml").unlink()
    for i in range(2, 20):
        save(f"{CLASSES[1 - i % 2]}/again{i}.png", picture(i))
    refused("38 of 49 images lie under two labels")


def test_a_class_an_image_and_rare_classes_are_refused():
    write("{i:02d}.png")
    table("list.csv", [["path", "label"], *([f"{i:02d}.png", f"L{i}"] for i in range(12))])
    refused("12 classes for 12 images")
    table("list.csv", [["path", "label"], *([f"{i:02d}.png", "abcde"[max(0, i - 7)]] for i in range(12))])
    refused(r"classes 'b' \(1\), 'c' \(1\), 'd' \(1\), 'e' \(1\) have fewer than 3 groups")


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_the_table_with_patients_wins_whatever_its_name():
    write("Images/us_{i:04d}-a.png", "Masks/roi_{i:04d}-a.png")
    names = [f"us_{i:04d}-a" for i in range(12)]
    table("aaa_folds.csv", [["ID", "Pathology", "kFold"], *([n, CLASSES[i % 2], i % 5] for i, n in enumerate(names))])
    table("zzz.csv", [["ID", "Subject", "Pathology"], *([n, i // 2, CLASSES[i // 2 % 2]] for i, n in enumerate(names))])
    found = add()
    assert found.facts["options"]["label_from"]["file"] == "zzz.csv"
    assert (found.facts["patients"], found.facts["other files"]) == (6, {".csv": "1: aaa_folds.csv"})


def test_a_table_with_patients_that_has_a_fault_is_named():
    write("scans/{i:03d}.png")
    rows = [[f"{i:03d}", CLASSES[i % 2]] for i in range(12)]
    table("a.csv", [["file", "label"], *rows])
    table("b.csv", [["file", "label", "patient"], *([*row, i // 2] for i, row in enumerate(rows[1:]))])
    assert any("'b.csv' seems to tell the label and patient" in note for note in add().notes)


@pytest.mark.parametrize(
    ("separator", "file", "value", "patient", "label"),
    [
        (",", "file", "{i:03d}.png", "patient_id", "label"),
        (";", "filename", "{i:03d}", "PatientID", "Class"),
        ("\t", "image_path", "scans/{i:03d}.png", "Subject", "diagnosis"),
        (";", "Bild", "C:\\export\\scans\\{i:03d}.png", "Patienten-ID", "Diagnose"),
        (",", "archivo", "./scans/{i:03d}.jpg", "ID Paciente", "Diagnóstico"),
        (";", "id", "{i}", "Case", "malignancy"),
    ],
)
def test_columns_by_other_names(separator, file, value, patient, label):
    write("scans/{i:03d}.png")
    rows = [[f"P{i // 2}", value.format(i=i), i // 2 % 2] for i in range(12)]
    table("tabla.csv", [[patient, file, label], *rows], separator)
    data = added()
    assert (data.classes, data.class_counts.tolist(), len(set(data.groups))) == (("0", "1"), [6, 6], 6)
    for sample in data.samples:
        assert sample.case.label == str(int(Path(sample.case.case_id).stem) // 2 % 2)


def test_patients_of_a_table_and_classes_of_folders():
    write("{c}/{i:03d}.png")
    table("who.csv", [["image", "patient"], *([f"{i:03d}.png", f"P{i % 6}"] for i in range(12))])
    data = added()
    assert (data.classes, len(set(data.groups))) == (CLASSES, 6)


def test_a_free_text_column_is_no_class():
    write("scans/{i:03d}.png")
    rows = [[f"{i:03d}", f"finding {i // 2}", CLASSES[i % 2]] for i in range(12)]
    table("t.csv", [["id", "Diagnosis", "Classification"], *rows])
    assert added().classes == CLASSES


def test_what_a_table_calls_an_image():
    find = key_finder(["7", "a/8.png", "deep/er/im/9.png", "b/8.png", "case.jpg"])
    assert find("x/007.png", "007") == "7"
    assert find("a/8.png", "8") == "a/8.png"
    assert find("im/9.png", "9") == "deep/er/im/9.png"
    assert find("other/9.png", "9") is None
    assert find("root/b/8.png", "8") == "b/8.png"
    assert find("case.png", "case") == "case.jpg"


def workbook(path: Path, rows: list[list[str]]) -> None:
    """A workbook of text in cells, as small as Excel reads it."""
    head, space = '<?xml version="1.0"?>', "http://schemas.openxmlformats.org"
    cells = "".join(
        f'<row r="{r}">{"".join(f"""<c t="inlineStr"><is><t>{cell}</t></is></c>""" for cell in row)}</row>'
        for r, row in enumerate(rows, start=1)
    )
    parts = {
        "xl/workbook.xml": f'<workbook xmlns:r="{space}/officeDocument/2006/relationships"><sheets>'
        '<sheet name="a" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": '<R><Relationship Id="r1" Target="worksheets/s.xml"/></R>',
        "xl/worksheets/s.xml": f"<worksheet><sheetData>{cells}</sheetData></worksheet>",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, text in parts.items():
            file.writestr(name, head + text)


def test_a_workbook_beside_the_images_is_read():
    write("bilder/{i:03d}.png", "masken/{i:03d}.png")
    rows = [[f"{i:03d}", f"P{i // 2}", CLASSES[i // 2 % 2]] for i in range(12)]
    workbook(Path("data/mine/liste.xlsx"), [["Bild", "Patient", "Typ", "Befund"], *([*r[:2], "x", r[2]] for r in rows)])
    data = added()
    check_pairs(data)
    assert (data.classes, len(set(data.groups))) == (CLASSES, 6)


# ---- volumes and what is not read ------------------------------------------------------------------------------------


def mha(pixels: np.ndarray) -> bytes:
    size = f"{pixels.shape[1]} {pixels.shape[0]}"
    head = f"ObjectType = Image\nNDims = 2\nDimSize = {size}\nElementSpacing = 0.2 0.3\nElementType = MET_UCHAR\n"
    return (head + "ElementDataFile = LOCAL\n").encode() + pixels.tobytes()


@pytest.mark.parametrize("mask", ["gt/{i}.mha", "us/{i}_seg.mha"])
def test_meta_image_pairs_are_read(mask):
    for i in range(12):
        for name, pixels in ((f"us/{i}.mha", picture(i)), (mask.format(i=i), blob(i) // 255)):
            path = Path("data/mine", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mha(pixels))
    data = added()
    check_pairs(data)
    assert (data.spec.layout, tuple(data.samples[0].spacing)) == ("volumes", (0.3, 0.2))


@pytest.mark.parametrize("mask", ["labels/{i:02d}.nii.gz", "images/{i:02d}-seg.nii.gz"])
def test_nifti_pairs_are_read(mask):
    nibabel = pytest.importorskip("nibabel")
    for i in range(12):
        for name, pixels in ((f"images/{i:02d}.nii.gz", picture(i)), (mask.format(i=i), blob(i) // 255)):
            path = Path("data/mine", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(nibabel.Nifti1Image(pixels.T, np.eye(4)).to_bytes()))
    check_pairs(added())


def test_every_kind_that_is_not_read_is_named():
    write("images/{i}.png")
    mine = Path("data/mine")
    for i in range(9):
        (mine / f"clip{i}.mp4").write_bytes(b"x")
    (mine / "masks.npy").write_bytes(b"x")
    (mine / "all.mat").write_bytes(b"x")
    (mine / "more.tar.gz").write_bytes(b"x")
    (mine / "coco.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    (mine / "via.json").write_text(json.dumps({"a.png123": {"filename": "a.png", "regions": []}}))
    (mine / "lm.json").write_text(json.dumps({"shapes": [], "imagePath": "a.png"}))
    (mine / "0.png.json").write_text(json.dumps({"objects": [], "size": {}, "tags": []}))
    (mine / "cvat.xml").write_text("<?xml version='1.0'?><annotations><version>1.1</version></annotations>")
    (mine / "0.txt").write_text("0 0.1 0.1 0.2 0.1 0.2 0.2\n")
    told = refused("no reading fits")
    kinds = ["9 files (clip0.mp4, clip1.mp4, clip2.mp4 and 6 more) are videos", "masks.npy) are arrays"]
    kinds += [
        "all.mat) are MATLAB",
        "more.tar.gz) are archives",
        "COCO",
        "VIA",
        "labelme",
        "Supervisely",
        "CVAT",
        "YOLO",
    ]
    assert [words for words in kinds if words not in told] == []


def test_left_over_files_are_counted_by_kind():
    write("{c}/{i}.png")
    for i in range(529):
        Path(f"data/mine/n{i:03d}.txt").touch()
    assert add().facts["other files"] == {".txt": "529: n000.txt, n001.txt, n002.txt and 526 more"}


# ---- images that are known -------------------------------------------------------------------------------------------


def test_images_known_by_their_pixels_keep_their_groups(monkeypatch, tmp_path):
    write("{c}/renamed {i}.png", n=24)
    add()
    hashes = {sample.case.case_id: sample.pixel_hash for sample in opened().samples}
    Path("datasets.yaml").unlink()
    groups = tmp_path / "groups"
    groups.mkdir()
    names = ("benign/renamed 0.png", "benign/renamed 2.png", "malignant/renamed 1.png")
    (groups / "busi.csv").write_text("pixel_hash,group\n" + "".join(f"{hashes[name]},g\n" for name in names))
    monkeypatch.setattr("usfm_bench.data.groups._FOLDER", groups)
    monkeypatch.setattr("usfm_bench.data.add.known_images._FOLDER", groups)
    found = add()
    assert found.facts["groups"] == 22
    assert any("3 of 24 images are known by their pixels as near-duplicates in 'busi'" in note for note in found.notes)
    assert load_registry()["mine"].groups == "busi.csv"
    assert len(set(opened().groups)) == 22


def test_near_duplicates_that_nobody_knows_are_counted():
    rng = np.random.default_rng(0)
    for i in range(12):
        image = cv2.resize(rng.normal(size=(6, 8)).astype(np.float32), (160, 120)) * 40 + 128
        image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        save(f"{CLASSES[i % 2]}/{i}.png", image)
        if i < 3:
            save(f"{CLASSES[i % 2]}/{i}.jpg", image)
    assert any(note.startswith("3 pairs of images are near-duplicates that a split could part") for note in add().notes)


# ---- names with a side in them ---------------------------------------------------------------------------------------


def test_names_that_hold_a_side():
    assert part_side("train_images").parts == ("train", "images")
    assert part_side("labelsTs").parts == ("labels", "Ts")
    assert [part_side(name) for name in ("strain", "tracheal", "train", "contest", "trained", "images")] == [None] * 6
    view = view_sides(["a/test-x/1.png", "a/train-x/2.png"])
    assert view.names == {"a/test/x/1.png": "a/test-x/1.png", "a/train/x/2.png": "a/train-x/2.png"}
    assert view.on_disk("a/{split}/x/{id}.png") == "a/{split}-x/{id}.png"
    assert view_sides(["train_x/1.png", "other/2.png"]).depth is None
