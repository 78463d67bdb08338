"""Folders in layouts that nobody announced become registry entries; bad archives and files become one message."""

import csv
import io
import json
import shlex
import stat
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.data.add import archive
from usfm_bench.data.add.adding import Added, Request, add_dataset
from usfm_bench.data.add.folder_names import folder_roles, order_classes, positive_class, suggest_patients
from usfm_bench.data.add.registry_file import append_entry
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.specs.dataset import load_registry

SHAPE = (24, 32)
CLASSES = ("benign", "malignant")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def blob(seed: int, level: int = 255) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4 + seed % 3 : 15, 6 : 20 + seed % 5] = level
    return mask


def save(path: str, pixels: np.ndarray) -> None:
    file = Path("data/mine", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cv2.imencode(file.suffix.lower(), pixels)[1].tobytes())


def write(images: str, masks: str = "", *, n: int = 12, level: int = 255) -> None:
    """`n` images, and their masks, where names are patterns of a number i, a class c and a side s."""
    for i in range(n):
        names = {
            "i": i,
            "k": i % 2,
            "c": CLASSES[i % 2],
            "s": ("train", "val", "test")[i % 3],
            "set": ("training", "val", "test")[i % 3],
        }
        save(images.format(**names), picture(i))
        if masks:
            save(masks.format(**names), blob(i, level))


def add(place: str = "data/mine", **more) -> Added:
    return add_dataset(Request("mine", Path(place), Path("data"), **more))


def added(place: str = "data/mine", **more) -> Dataset:
    """What the entry that was written opens, read from the file alone."""
    add(place, **more)
    return open_dataset(load_registry()["mine"], Path("data"))


def refused(match: str, place: str = "data/mine", **more) -> str:
    with pytest.raises(BenchError, match=match) as error:
        add(place, **more)
    assert not Path("datasets.yaml").exists()
    return str(error.value)


def test_folders_of_patients_are_no_classes():
    for patient in range(1, 4):
        for i in range(14):
            save(f"P{patient:02d}/{i}.png", picture(20 * patient + i))
    refused("nothing to train for")


def test_folders_of_unknown_words_are_said_to_be_taken_for_classes():
    for k, name in enumerate(("Meyer_Anna", "Smith_John")):
        for i in range(14):
            save(f"{name}/{i}.png", picture(20 * k + i))
    assert any("taken for a class: Meyer_Anna, Smith_John. If they are patients" in note for note in add().notes)


LAYOUTS = {
    # images, masks -> layout, patterns, classes known
    "class folders": ("{c}/{i}.png", "", "imagefolder", (), True),
    "odd names": ("Größe {c}/Bild № {i} (a).PNG", "", "imagefolder", (), True),
    "deep class folders": ("export/2024/{c}/x/{i}.jpg", "", "imagefolder", (), True),
    "numbered classes": ("{k}/{i}.png", "", "imagefolder", (), True),
    "class and patient": ("{c}/P{i:02d}/a.png", "", "masks", ("{label}/{patient}/{id}.png",), True),
    "sides and classes": ("{s}/{c}/{i}.png", "", "masks", ("{split}/{label}/{id}.png",), True),
    "parallel": ("images/{i}.png", "masks/{i}.png", "masks", ("images/{id}.png", "masks/{id}.png"), False),
    "parallel, unusual words": ("us/{i}.jpg", "roi/{i}.png", "masks", ("us/{id}.jpg", "roi/{id}.png"), False),
    "parallel, per class": (
        "{c}/images/{i}.png", "{c}/gt/{i}.png",
        "masks", ("{label}/images/{id}.png", "{label}/gt/{id}.png"), True,
    ),
    "parallel, with classes": (
        "images/{c}/{i}.png", "masks/{c}/{i}.png",
        "masks", ("images/{label}/{id}.png", "masks/{label}/{id}.png"), True,
    ),
    "parallel, per side, with suffix": (
        "{s}/img/{i}.png", "{s}/label/{i}_seg.png",
        "masks", ("{split}/img/{id}.png", "{split}/label/{id}_seg.png"), False,
    ),
    "parallel, both with affixes": (
        "Images/bus_{i:03d}-l.png", "Masks/mask_{i:03d}-l.png",
        "masks", ("Images/bus_{id}.png", "Masks/mask_{id}.png"), False,
    ),
    "a folder within": ("{i}.png", "masks/{i}.png", "masks", ("{id}.png", "masks/{id}.png"), False),
    "lossy masks": ("images/{i}.jpg", "masks/{i}.jpg", "masks", ("images/{id}.jpg", "masks/{id}.jpg"), False),
    "suffix": ("{i}.png", "{i}_mask.png", "masks", ("{id}.png", "{id}_mask.png"), False),
    "suffix with dash, per class": (
        "{c}/scan {i}.png", "{c}/scan {i}-GT.png", "masks", ("{label}/{id}.png", "{label}/{id}-GT.png"), True,
    ),
    "two suffixes": ("{i}_image.png", "{i}_label.png", "masks", ("{id}_image.png", "{id}_label.png"), False),
    "prefix": ("{i}.png", "seg_{i}.png", "masks", ("{id}.png", "seg_{id}.png"), False),
    "per patient": ("P{i:02d}/image.png", "P{i:02d}/mask.png", "masks", ("{id}/image.png", "{id}/mask.png"), False),
    "per class and patient": (
        "{c}/P{i:02d}/us.png", "{c}/P{i:02d}/roi.png", "masks", ("{label}/{id}/us.png", "{label}/{id}/roi.png"), True,
    ),
    "published": ("{set}_set/image/{i}.png", "{set}_set/mask/{i}.png", "usfm", (), False),
    "published, classes": ("{set}_set/{c}/{i}.png", "", "usfm", (), True),
    "busi": ("{c}/{c} ({i}).png", "{c}/{c} ({i})_mask.png", "busi", (), True),
}  # fmt: skip


ONES = ["parallel", "suffix", "published"]


@pytest.mark.parametrize(("name", "level"), [*((name, 255) for name in LAYOUTS), *((name, 1) for name in ONES)])
def test_unknown_layouts_are_read(name, level):
    images, masks, layout, patterns, classes = LAYOUTS[name]
    write(images, masks, level=level)
    data = added()
    assert data.spec.layout == layout
    grey = {"values": "nonzero"} if level == 1 else {}
    assert data.spec.options == dict(zip(("images", "masks"), patterns, strict=False)) | grey
    assert (len(data), data.spec.n_images, len(data.classes)) == (12, 12, 2 * classes)
    assert set(data.spec.tasks) == {"segmentation"} & {"segmentation" * bool(masks)} | {"classification"} & {
        "classification" * classes
    }
    for sample in data.samples:  # the right mask with the right picture
        number = next(i for i in range(12) if np.abs(sample.image.astype(int) - picture(i)).mean() < 25)
        assert sample.mask is None if not masks else np.array_equal(sample.mask, blob(number) > 0)


def test_several_masks_of_an_image_are_united():
    write("{c}/{i}x.png", "{c}/{i}x_mask.png")
    second = np.zeros(SHAPE, np.uint8)
    second[20:] = 255
    save("benign/0x_mask_1.png", second)
    data = added()
    assert data.spec.options == {"images": "{label}/{id}.png", "masks": "{label}/{id}_mask*.png"}
    first = next(sample for sample in data.samples if sample.case.case_id == "benign/0x.png")
    assert np.array_equal(first.mask, (blob(0) | second) > 0)


def test_a_list_of_images_is_read_from_the_file_or_from_its_folder():
    write("files/{i}.png", "files/roi {i}.png")
    rows = [["path", "label", "patient", "mask"]]
    rows += [[f"files/{i}.png", CLASSES[i % 2], f"P{i // 2}", f"files/roi {i}.png"] for i in range(12)]
    with Path("data/mine/list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    data = added("data/mine/list.csv")
    assert (data.spec.layout, data.spec.path) == ("manifest", "mine/list.csv")
    assert data.spec.tasks == ("segmentation", "classification")
    assert len({sample.case.patient for sample in data.samples}) == 6
    Path("datasets.yaml").unlink()
    assert added().spec == data.spec


def test_every_fault_of_a_list_is_told():
    write("{i}.png", n=2)
    Path("data/mine/list.csv").write_text("path,label\n0.png,a\nno.png,b\n../x.png,\n")
    told = refused("row 3: path 'no.png' does not exist", "data/mine/list.csv")
    assert "row 4: path '../x.png' leaves the list's folder." in told
    assert "row 4: label is empty." in told
    Path("data/mine/list.csv").write_text("file,label\n0.png,a\n")
    assert "column path missing; found ['file', 'label']" in refused("give the folder", "data/mine/list.csv")


def test_a_table_beside_the_images_gives_labels_and_patients():
    write("scans/{i:03d}.png")
    rows = [f"{i:03d},{CLASSES[i % 2]},{i // 2}" for i in range(12)]
    Path("data/mine/clinic.csv").write_text("\n".join(["Image,Diagnosis,Patient", *rows]))
    data = added()
    table = {"file": "clinic.csv", "id": "Image", "label": "Diagnosis", "patient": "Patient"}
    assert data.spec.options == {"images": "scans/{id}.png", "label_from": table}
    assert (data.spec.classes, data.spec.positive) == (CLASSES, "malignant")
    assert len(set(data.groups)) == 6


def test_dicom_files_are_read_whatever_their_names():
    pydicom = pytest.importorskip("pydicom")
    for i in range(12):
        tags = pydicom.Dataset()
        tags.PatientID, tags.SOPClassUID, tags.SOPInstanceUID = f"M{i // 2}", "1.2.840.10008.5.1.4.1.1.6.1", f"1.2.{i}"
        tags.Rows, tags.Columns = SHAPE
        tags.PhotometricInterpretation, tags.SamplesPerPixel, tags.PixelRepresentation = "MONOCHROME2", 1, 0
        tags.BitsAllocated = tags.BitsStored = 8
        tags.HighBit, tags.PixelData = 7, picture(i).tobytes()
        tags.file_meta = pydicom.dataset.FileMetaDataset()
        tags.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        path = Path("data/mine", ("cyst", "solid")[i % 4 > 1], f"IM{i:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        tags.save_as(path, enforce_file_format=True)
    data = added()
    assert (data.spec.layout, data.spec.classes, len(data)) == ("dicom", ("cyst", "solid"), 12)
    assert len(set(data.groups)) == 6


def test_images_without_a_mask_are_a_fault_until_they_are_said_to_be_empty():
    write("images/{i}.png", "masks/{i}.png")
    for i in (3, 4, 5, 7):
        Path(f"data/mine/masks/{i}.png").unlink()
    told = refused("3.png: has no mask file")
    assert told.count("has no mask file") == 4
    assert "--no-mask empty" in told
    assert sum(not sample.mask.any() for sample in added(no_mask="empty").samples) == 4


def test_a_patient_in_file_names_is_offered_and_taken_when_asked_for():
    write("{c}/P{i:02d}_1.png")
    write("{c}/P{i:02d}_2.png")
    for i in range(12):
        save(f"{CLASSES[i % 2]}/P{i:02d}_2.png", picture(100 + i))
    [note] = [note for note in add("data/mine").notes if "--patient" in note and "P00" in note]
    Path("datasets.yaml").unlink()
    expression = shlex.split(note)[-1]
    data = added(patient=expression)
    assert (len(data), len(set(data.groups))) == (24, 12)
    assert data.spec.options == {"patient": expression}
    Path("datasets.yaml").unlink()
    refused("no patient in the path", patient="(Q)")
    refused("--patient 'P': .*needs one group", patient="P")


def test_what_cannot_be_trained_on_is_said():
    write("scans/{i}.png")
    told = refused("no masks and no two classes: nothing to train for")
    assert "all in one folder ('scans')" in told
    assert "pre-training only" in told
    rows = [f"scans/{i}.png,benign" for i in range(12)]
    Path("data/mine/list.csv").write_text("\n".join(["path,label", *rows]))
    refused("One class alone \\('benign'\\) cannot be learned")


def test_a_class_with_too_few_groups_is_named():
    write("{c}/{i}.png")
    save("cyst/a.png", picture(100))
    save("cyst/b.png", picture(100))
    save("cyst/c.png", picture(101))
    refused("class 'cyst' has 2 groups .* this split needs 3 at least")


def test_bad_files_are_all_told_and_nothing_is_written(tmp_path):
    write("{c}/{i}.png", n=30)
    mine = Path("data/mine")
    (mine / "benign/empty.png").touch()
    whole = (mine / "benign/0.png").read_bytes()
    (mine / "malignant/cut.png").write_bytes(whole[: len(whole) // 2])
    (mine / "benign/A.png").write_bytes(whole)
    (mine / "benign/a.png").write_bytes(whole)
    (tmp_path / "secret.png").write_bytes(whole)
    (mine / "benign/link.png").symlink_to(tmp_path / "secret.png")
    told = refused("empty.png: truncated, or not an image")
    for fault in ("cut.png: truncated", "'A.png' and 'a.png' differ only in case", "link.png: is a link that leaves"):
        assert fault in told


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: None, "data/mine: does not exist"),
        (lambda: Path("data/mine").mkdir(), "holds no image"),
        (lambda: Path("data/mine").touch(), "neither a folder, nor a .zip, nor a list"),
        (lambda: write("a/{i}.png", level=3) or write("{i}_x.png", "m{i}_y.png"), "no reading in layout 'hc18' fits|"),
    ],
)
def test_places_that_hold_nothing_are_refused(make, match):
    make()
    refused(match)


def test_nothing_that_fits_says_what_was_tried():
    for i in range(6):
        save(f"{i}.png", blob(i))
    told = refused("6 images, and no reading fits")
    assert "100 % of a sample of the image files look like masks" in told
    assert "list.csv with columns path, label" in told
    assert "Did you mean 'masks'" in refused("Unknown layout 'mask'", layout="mask")
    assert "no folders" not in refused("no list called 'training_set_pixel_size_and_HC.csv'", layout="hc18")


def test_a_reading_without_faults_wins():
    for i in range(12):  # as published, but without val_set
        side = ("training", "test")[i % 2]
        save(f"{side}_set/image/{i}.png", picture(i))
        save(f"{side}_set/mask/{i}.png", blob(i))
    data = added()
    assert (data.spec.layout, data.spec.options["images"]) == ("masks", "{split}/image/{id}.png")
    assert {sample.case.split for sample in data.samples} == {"train", "test"}


def test_hc18_is_known_by_its_list():
    rows = ["filename,pixel size(mm),head circumference (mm)"]
    for i in range(6):
        outline = cv2.ellipse(np.zeros((60, 80), np.uint8), (40, 30), (20, 12 + i), 10 * i, 0, 360, 255)
        save(f"training_set/{i:03d}_HC.png", cv2.resize(picture(i), (80, 60)))
        save(f"training_set/{i:03d}_HC_Annotation.png", outline)
        rows.append(f"{i:03d}_HC.png,0.1,100")
    Path("data/mine/training_set_pixel_size_and_HC.csv").write_text("\n".join(rows))
    found = add("data/mine")
    assert found.facts["read as"].startswith("layout hc18")
    assert found.facts["pixel spacing"] == "known for 6 of 6"


def test_two_folders_of_masks_are_both_told():
    write("us/{i}.png", "lesion/{i}.png")
    for i in range(12):
        save(f"nipple/{i}.png", blob(i))
    found = add("data/mine")
    assert found.facts["explained by nothing"]["files"] == 12
    assert any("could as well be read as" in note and "nipple/{id}.png" in note for note in found.notes)


def test_one_layout_can_be_asked_for():
    write("{c}/{c} ({i}).png", "{c}/{c} ({i})_mask.png")
    assert added(layout="masks").spec.options["masks"] == "{label}/{id}_mask.png"


# ---- archives --------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], **attributes) -> Path:
    path = Path("mine.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.filename = name
            if name in attributes:
                info.external_attr = attributes[name] << 16
            file.writestr(info, content)
    return path


def unpack(path: Path) -> str:
    with pytest.raises(BenchError) as error:
        archive.unpack(path, Path("data/out"))
    assert list(Path("data").iterdir()) == []
    return str(error.value)


@pytest.mark.parametrize("name", ["class folders", "parallel"])
def test_an_archive_is_unpacked_below_the_data_root_and_read(name):
    images, masks, layout, patterns, _ = LAYOUTS[name]
    write("export/" + images, masks and "export/" + masks)
    with zipfile.ZipFile("mine.ZIP", "w") as file:
        for path in sorted(Path("data/mine").rglob("*.png")):
            file.write(path, path.relative_to("data/mine"))
        file.writestr("__MACOSX/export/._0.png", b"resource fork")
        file.writestr("export/.DS_Store", b"")
    for path in sorted(Path("data/mine").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path("data/mine").rmdir()
    data, options = added("mine.ZIP"), dict(zip(("images", "masks"), patterns, strict=False))
    assert (data.spec.layout, data.spec.options, data.spec.path, len(data)) == (layout, options, "mine/export", 12)
    assert not [path for path in Path("data").rglob("*") if path.name.startswith((".", "__"))]
    Path("datasets.yaml").unlink()
    refused("data/mine: exists already", "mine.ZIP")


def test_an_archive_that_cannot_be_used_leaves_nothing():
    refused("nothing to train for", str(zipped({"a.png": cv2.imencode(".png", picture(0))[1].tobytes()})))
    assert list(Path("data").iterdir()) == []


def test_every_unsafe_member_is_told():
    link, pipe = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600
    bad = {
        "/etc/x.png": "absolute path",
        "../up.png": "leaves the folder",
        "a/../../up.png": "leaves the folder",
        "C:/x.png": "drive letter",
        "a\\x.png": "backslash",
        "link.png": "is a link",
        "pipe.png": "neither a file nor a folder",
        "tab\t.png": "control character",
        ".": "has no name",
    }
    names = {**dict.fromkeys(bad, b"x"), "ok/a.png": b"x", "ok/A.PNG": b"x", "ok/a.png/b.png": b"x"}
    told = unpack(zipped(names, **{"link.png": link, "pipe.png": pipe}))
    for name, fault in bad.items():
        assert any(repr(name) in line and fault in line for line in told.split("\n")), name
    assert "'ok/a.png' and 'ok/A.PNG' differ only in case" in told
    assert "'ok/a.png' is both a file and a folder" in told


def test_encrypted_oddly_named_and_damaged_members_are_told(monkeypatch):
    path = zipped({"a.png": b"x" * 100, "b.png": bytes(range(100)), "c.png": b"z"})
    content = bytearray(path.read_bytes())
    entries = [i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"]
    content[entries[0] + 8] |= 1  # encrypted, by the flags of the central directory
    content[entries[2] + 46] = 0xE4  # 'ä' of Windows, in a name that does not say its encoding
    path.write_bytes(content)
    told = unpack(path)
    assert "'a.png': is encrypted." in told
    assert "the name is not UTF-8." in told
    path = zipped({"a.png": b"x" * 100, "b.png": b"y" * 100})
    path.write_bytes(path.read_bytes().replace(zipped_body(b"x" * 100), bytes(len(zipped_body(b"x" * 100)))))
    assert "'a.png': damaged" in unpack(path)
    path.write_bytes(b"PK no archive")
    assert "truncated, or no .zip" in unpack(path)


def zipped_body(content: bytes) -> bytes:
    """The compressed bytes of a member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("a"), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()[31 : 31 + file.infolist()[0].compress_size]


def test_names_of_macos_are_utf_8_although_they_do_not_say_so():
    path = zipped({"Gr____e.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"Gr____e", "Größe".encode()))
    archive.unpack(path, Path("data/out"))
    assert [file.name for file in Path("data/out").iterdir()] == ["Größe.png"]
    assert Path("data/out").stat().st_mode & 0o077 == 0


def test_bombs_are_refused_by_what_they_claim_and_by_what_they_hold(monkeypatch):
    path = zipped({"a.png": bytes(500_000), "b.png": bytes(500_000)})
    monkeypatch.setattr(archive, "_SMALL", 100_000)
    assert "times its own size" in unpack(path)
    monkeypatch.setattr(archive, "MAX_BYTES", 900_000)
    assert "at most" in unpack(path)
    monkeypatch.setattr(archive, "_size_faults", lambda *_: [])
    assert "unpacks to more than" in unpack(path)


# ---- the registry file -----------------------------------------------------------------------------------------------


def test_comments_and_other_entries_survive():
    write("{c}/{i}.png")
    text = "# ours\r\nother:  # keep\r\n  extends: phantom"
    Path("datasets.yaml").write_bytes(text.encode())
    add("data/mine")
    after = Path("datasets.yaml").read_bytes().decode()
    assert after.startswith(text + "\r\n\r\nmine:\r\n")
    assert {"other", "mine", "busi"} <= load_registry().keys()
    with pytest.raises(BenchError, match=r"'mine' is already in 'datasets.yaml'\. Delete that entry"):
        add("data/mine")
    with pytest.raises(BenchError, match="'busi' is already in the registry that usfm-bench ships"):
        add_dataset(Request("busi", Path("data/mine"), Path("data")))
    with pytest.raises(BenchError, match="cannot be the name"):
        add_dataset(Request("Über uns", Path("data/mine"), Path("data")))
    assert Path("datasets.yaml").read_bytes().decode() == after


@pytest.mark.parametrize("text", ["{other: {extends: phantom}}\n", "other: {extends: phantom}\n...\n", "other: [\n"])
def test_a_file_that_cannot_be_appended_to_is_kept(text):
    write("{c}/{i}.png")
    Path("datasets.yaml").write_text(text)
    with pytest.raises(BenchError):
        add("data/mine")
    assert Path("datasets.yaml").read_text() == text


def test_the_shipped_registry_is_not_written_to(monkeypatch):
    write("{c}/{i}.png")
    Path("datasets.yaml").write_text("busi: {}\n")
    monkeypatch.setattr("usfm_bench.data.add.registry_file.resource", Path)
    monkeypatch.setattr(
        "usfm_bench.data.add.registry_file.load_registry", lambda extra: load_registry(extra or Path("my"))
    )
    with pytest.raises(BenchError, match=r"that usfm-bench ships\. Give another file"):
        add("data/mine", registry=Path("datasets.yaml"))


odd = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(deadline=None, max_examples=15)
@example(classes=["\x85", "\u2028 'ä'"], options={"no": "1e3"}, organ="#:\r\n\ufeff")
@given(classes=st.lists(odd, max_size=4, unique=True), options=st.dictionaries(odd, odd, max_size=3), organ=odd)
def test_odd_names_come_back_from_the_registry_file(tmp_path_factory, classes, options, organ):
    path = tmp_path_factory.mktemp("registry") / "mine.yaml"
    path.write_text("first: {extends: busi}  # kept\n")
    entry = {
        "version": 1,
        "title": organ,
        "tasks": ["classification"],
        "organ": organ,
        "layout": "masks",
        "path": organ,
    }
    append_entry(path, "mine", {**entry, "classes": classes, "options": options})
    spec = load_registry(path)["mine"]
    assert (list(spec.classes), spec.options, spec.organ, spec.path) == (classes, options, organ, organ)
    assert path.read_text().startswith("first: {extends: busi}  # kept\n")


# ---- names -----------------------------------------------------------------------------------------------------------


def test_folders_are_sides_classes_patients_or_parts():
    def roles(*names: str, each: int = 4) -> list[str]:
        return folder_roles([tuple(name.split("/")) for name in names for _ in range(each)])

    assert roles("train/benign", "test/malignant") == ["{split}", "{label}"]
    assert roles("a/P1", "a/P2") == ["a", "{patient}"]
    assert roles("grade1", "grade2", "grade3") == ["{label}"]
    assert roles("GE/normal", "Philips/malignant") == ["{part0}", "{label}"]
    assert roles("Anna", "Berta", each=2) == ["{part0}"]  # too few images for two classes
    assert roles(*(f"{n}" for n in range(30))) == ["{patient}"]
    assert folder_roles([(), ("a",)]) == []


def test_classes_are_in_order_and_one_of_two_may_be_positive():
    assert order_classes({"malignant", "normal", "benign"}) == ("normal", "benign", "malignant")
    assert order_classes({"b", "a", "benign"}) == ("a", "b", "benign")
    assert [positive_class(names) for names in (CLASSES, ("normal", "benign"), ("cancer", "tumor"))] == [
        "malignant",
        None,
        None,
    ]
    assert positive_class(("normal", "benign", "malignant")) is None


def test_patients_are_suggested_only_where_every_name_has_one_and_some_share_it():
    assert suggest_patients(["a/P1_1.png", "b/P1_2.png", "b/P2_1.png"])[1:] == ("P1", 2)
    assert suggest_patients(["patient12_x.png", "patient12_y.png", "patient3_x.png"])[1:] == ("patient12", 2)
    assert suggest_patients(["P1_1.png", "P2_1.png"]) is None
    assert suggest_patients(["P1_1.png", "P1_2.png", "x.png"]) is None


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_what_to_run_next():
    write("{c}/{i}.png")
    Path("my data").mkdir()
    Path("data/mine").rename("my data/mine")
    words = ["data", "add", "clinic", "my data/mine", "--data-root", "my data", "--registry", "a b.yaml"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    ours = "--data-root 'my data' --registry 'a b.yaml'"
    assert done.output.splitlines()[-1] == (
        f"usfm-bench run --suite clinical-cls --datasets clinic --profile smoke {ours}"
    )
    assert yaml.safe_load(Path("a b.yaml").read_text())["clinic"]["path"] == "mine"
    again = CliRunner().invoke(app, [*words[:2], "clinic-2", *words[3:], "--format", "json"])
    facts = json.loads(again.output)
    assert (facts["images"], facts["by class"]) == (12, {"benign": 6, "malignant": 6})
    assert facts["next"][0].startswith("usfm-bench run --suite clinical-cls --datasets clinic-2 ")
    plan = CliRunner().invoke(app, [*shlex.split(facts["next"][0])[1:], "--models", "usfm-micro-scratch", "--dry-run"])
    assert plan.output.count("to do") == 3, plan.output


@pytest.mark.slow
@pytest.mark.parametrize(("images", "masks"), [("{c}/{i}.png", ""), ("images/{i}.png", "masks/{i}.png")])
def test_the_second_command_finishes(images, masks):
    write(images, masks, n=40)
    [command] = add("data/mine").commands
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--runs", "runs", "--seeds", "1"])
    assert done.exit_code == 0, done.output
    assert len(list(Path("runs").rglob("record.json"))) == 2
