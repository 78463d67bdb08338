"""`usfm-bench predict`: masks and probabilities for images of any format, and nothing that is not asked for."""

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from usfm_bench.cli import app as cli
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.new_images import find_new_images, open_frames
from usfm_bench.results.predictions import load_predictions
from usfm_bench.results.rescore import find_trials
from usfm_bench.specs.dataset import load_registry

SECRET = "Mustermann"


@pytest.fixture(scope="module")
def trials(trained_runs) -> dict[str, Path]:
    """Task -> folder of its trial."""
    return {record.spec.task: folder for folder, record in find_trials(trained_runs)}


@pytest.fixture
def predict(trials, monkeypatch, capsys):
    """Runs the command; gives (exit code, stdout, stderr)."""

    def call(task: str, *arguments: object) -> tuple[int, str, str]:
        line = ["predict", trials.get(task, task), *arguments, "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["usfm-bench", *map(str, line)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def picture(seed: int, shape: tuple[int, ...] = (50, 70)) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3) if len(shape) == 2 else noise


def write_png(path: Path, seed: int = 0, shape: tuple[int, ...] = (50, 70)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(seed, shape))
    return path


def write_nifti(path: Path, levels: np.ndarray) -> Path:
    """(X, Y, ...) levels, with a name in the header."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(levels, np.diag([-0.2, -0.3, 2.0, 1.0]))
    image.header["descrip"] = SECRET.encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, SECRET.encode()))
    nibabel.save(image, path)
    return path


def write_dicom(path: Path, pixels: np.ndarray, box: tuple[int, int, int, int] | None = None) -> Path:
    """(N, H, W) frames; `box`: top, bottom, left and right of the picture."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian

    tags = pydicom.Dataset()
    tags.file_meta = pydicom.dataset.FileMetaDataset()
    tags.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    tags.file_meta.MediaStorageSOPClassUID = tags.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    tags.PatientName, tags.PatientID = SECRET, SECRET
    tags.Rows, tags.Columns, tags.NumberOfFrames = *pixels.shape[1:], len(pixels)
    tags.BitsAllocated, tags.BitsStored, tags.HighBit, tags.PixelRepresentation = 8, 8, 7, 0
    tags.SamplesPerPixel, tags.PhotometricInterpretation = 1, "MONOCHROME2"
    tags.PixelData = pixels.tobytes()
    if box is not None:
        region = pydicom.Dataset()
        region.RegionSpatialFormat = 1
        region.RegionLocationMinY0, region.RegionLocationMaxY1 = box[0], box[1]
        region.RegionLocationMinX0, region.RegionLocationMaxX1 = box[2], box[3]
        tags.SequenceOfUltrasoundRegions = [region]
    tags.save_as(path, enforce_file_format=True)
    return path


def mask(path: Path) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {0, 255}
    return np.asarray(found)


def test_test_images_get_the_masks_that_were_scored(predict, trials, tmp_path, tiny_registry):
    kept = load_predictions(trials["segmentation"] / "predictions.npz")
    by_id = dict(zip(kept.case_ids, kept.predictions, strict=True))
    for sample in open_dataset(load_registry(tiny_registry)["tiny-lesion"], tmp_path).samples:
        if sample.case.case_id in by_id:
            cv2.imwrite(str(tmp_path / f"{sample.case.case_id}.png"), sample.image)
    code, out, err = predict("segmentation", tmp_path, "--out", tmp_path / "out")
    assert (code, out.startswith(f"{len(by_id)} of {len(by_id)} files")) == (0, True), err
    assert any(found.any() for found in by_id.values())
    for case_id, found in by_id.items():
        assert (mask(tmp_path / "out" / f"{case_id}.png") == 255 * found).all()


def test_probabilities_are_those_that_were_scored(predict, trials, tmp_path, tiny_registry):
    cases = pd.read_parquet(trials["classification"] / "cases.parquet").set_index("case_id")
    for sample in open_dataset(load_registry(tiny_registry)["tiny"], tmp_path).samples:
        if sample.case.case_id in cases.index:
            cv2.imwrite(str(tmp_path / f"={sample.case.case_id}.png"), sample.image)
    assert predict("classification", tmp_path, "--out", tmp_path / "out")[0] == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert list(table) == ["file", "frame", "predicted", "p_normal", "p_benign", "p_malignant"]
    assert table["file"].str.startswith("'=").all()  # no formula
    ids = table["file"].str.removeprefix("'=").str.removesuffix(".png")
    scored = cases.loc[ids]
    for name in ("normal", "benign", "malignant"):
        np.testing.assert_allclose(table[f"p_{name}"], scored[f"p_{name}"], atol=1e-6)
    assert (table["predicted"] == [("normal", "benign", "malignant")[i] for i in scored["predicted"]]).all()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["predictions.csv", "predictions.json"]


def test_every_format_at_its_native_size_and_place(predict, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    source = tmp_path / "in"
    write_png(source / "deep" / "a.png", shape=(33, 91))
    write_png(source / "b.jpeg")
    write_png(source / "colour.bmp", shape=(40, 30, 3))
    flat = picture(1, (44, 55))
    write_nifti(source / "one.nii", flat.T)
    volume = np.stack([picture(i, (44, 55)).T for i in range(5)], axis=-1)  # (X, Y, Z)
    write_nifti(source / "many.nii.gz", volume)
    write_nifti(source / "rgb.nii", np.stack([flat.T] * 3, axis=-1))
    write_dicom(source / "IM1", np.stack([picture(i) for i in range(3)]), box=(10, 39, 20, 59))
    write_dicom(source / "single.dcm", picture(4)[None])
    pixels = np.stack([picture(i, (20, 30)) for i in range(2)])
    header = "ObjectType = Image\nNDims = 3\nDimSize = 30 20 2\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\n"
    (source / "v.mha").write_bytes(f"{header}ElementDataFile = LOCAL\n".encode() + pixels.tobytes())
    out = tmp_path / "out"
    code, said, err = predict("segmentation", source, "--out", out)
    assert (code, said.startswith("9 of 9 files")) == (0, True), err
    shapes = {p.relative_to(out).as_posix(): mask(p).shape for p in out.rglob("*.png")}
    assert shapes == {
        **{"deep/a.png": (33, 91), "b.png": (50, 70), "colour.png": (40, 30), "single.png": (50, 70)},
        **{f"IM1-000{i}.png": (50, 70) for i in range(3)},
        **{f"v-000{i}.png": (20, 30) for i in range(2)},
    }
    outside = np.ones((50, 70), bool)
    outside[10:40, 20:60] = False
    assert not mask(out / "IM1-0000.png")[outside].any()
    for name, shape in {"one.nii": (55, 44), "rgb.nii": (55, 44), "many.nii.gz": (55, 44, 5)}.items():
        image = nibabel.load(out / name)
        assert image.shape == shape
        np.testing.assert_allclose(image.affine, np.diag([-0.2, -0.3, 2.0, 1.0]))
        assert SECRET.encode() not in image.to_bytes()
        assert set(np.unique(np.asarray(image.dataobj))) <= {0, 255}
    # A slice of the volume is what the same picture gives alone.
    again = write_png(tmp_path / "slice.png")
    cv2.imwrite(str(again), volume[..., 3].T)
    assert predict("segmentation", again, "--out", tmp_path / "again")[0] == 0
    found = np.asarray(nibabel.load(out / "many.nii.gz").dataobj)[..., 3].T
    assert (found != mask(tmp_path / "again" / "slice.png")).mean() < 0.001


def test_nothing_of_a_patient_is_written(predict, tmp_path):
    write_dicom(tmp_path / "a.dcm", picture(0)[None])
    for task in ("segmentation", "classification"):
        assert predict(task, tmp_path / "a.dcm", "--out", tmp_path / task)[0] == 0
        for path in (tmp_path / task).iterdir():
            assert SECRET.encode() not in path.read_bytes()
            assert str(tmp_path).encode() not in path.read_bytes()


def test_files_that_cannot_be_read_are_named_and_the_others_go_on(predict, tmp_path):
    source = tmp_path / "in"
    write_png(source / "good.png")
    (source / "broken.png").write_bytes(write_png(source / "whole.png").read_bytes()[:200])
    (source / "film.mp4").write_bytes(b"x")
    (source / "notes.txt").write_text("x")
    (source / "empty.dcm").write_bytes(b"")
    (source / "odd.nii").write_bytes(b"no")
    code, out, err = predict("segmentation", source, tmp_path / "gone.png", tmp_path / "in/notes.txt", "--out", "o")
    shutil.rmtree("o")
    assert code == 1
    assert out == "2 of 8 files: o\n"
    for words in (
        "broken.png: truncated, or not an image",
        "film.mp4: is a video, which is not read. Save its frames as PNG files.",
        "empty.dcm: damaged, or not a DICOM image",
        "odd.nii: truncated, or not NIfTI",
        "gone.png: does not exist",
        "notes.txt: of no format that is read",
    ):
        assert words in err
    assert "Traceback" not in err


def test_where_nothing_can_be_read_it_is_exit_code_2(predict, tmp_path):
    (tmp_path / "film.avi").write_bytes(b"x")
    assert predict("segmentation", tmp_path / "film.avi", "--out", tmp_path / "o")[0] == 2
    (tmp_path / "empty").mkdir()
    code, _, err = predict("segmentation", tmp_path / "empty", "--out", tmp_path / "o2")
    assert (code, "no image in this folder" in err) == (2, True)
    assert not (tmp_path / "o2").exists()


def test_inputs_of_one_name_have_outputs_of_their_own(predict, tmp_path):
    one, two, jpeg = (write_png(tmp_path / p, i) for i, p in enumerate(("a/x.png", "b/x.png", "a/X.jpg")))
    out = tmp_path / "out"
    assert predict("segmentation", one, two, jpeg, one, "--out", out)[0] == 0
    assert len(list(out.rglob("*.png"))) == 3
    assert predict("classification", one, two, jpeg, one, "--out", tmp_path / "table")[0] == 0
    assert pd.read_csv(tmp_path / "table" / "predictions.csv")["file"].nunique() == 3


@pytest.mark.parametrize(
    ("paths", "stems"),
    [
        (["a.png", "b.png"], ["a", "b"]),
        (["a.png", "a.jpg"], ["a.png", "a.jpg"]),
        (["a.png", "A.png"], ["a.png", "A.png"]),
        (["d/a.png", "e/a.png"], ["d/a", "e/a"]),
        (["a.nii.gz", "a.nii"], ["a.nii.gz", "a.nii"]),
        (["1.2.840.11", "1.2.840.12"], ["1.2.840.11", "1.2.840.12"]),
        (["c/d/a.png", "e/d/a.png", "a.png"], None),
    ],
)
def test_stems_are_unique(tmp_path, paths, stems):
    files = find_new_images([write(tmp_path / path) for path in paths], tmp_path / "out").files
    found = [file.stem for file in files]
    assert len({stem.casefold() for stem in found}) == len(paths) or stems == ["a.png", "A.png"]
    assert not any(stem.startswith(("/", "..")) for stem in found)
    if stems and stems != ["a.png", "A.png"]:
        assert found == stems


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_the_same_command_may_be_run_twice_and_no_other(predict, tmp_path):
    image, out = write_png(tmp_path / "in" / "a.png"), tmp_path / "out"
    assert predict("segmentation", tmp_path / "in", "--out", out)[0] == 0
    first = (out / "a.png").read_bytes()
    assert predict("segmentation", tmp_path / "in", "--out", out)[0] == 0
    assert (out / "a.png").read_bytes() == first
    for task, path in (("segmentation", image), ("classification", tmp_path / "in")):
        code, _, err = predict(task, path, "--out", out)
        assert code == 2
        assert "which this command did not write; nothing was overwritten" in err
    assert predict("segmentation", image, "--out", tmp_path / "in")[0] == 2
    assert (out / "a.png").read_bytes() == first


def test_outputs_below_the_inputs_are_no_inputs(predict, tmp_path):
    write_png(tmp_path / "a.png")
    for _ in range(2):
        code, out, _ = predict("segmentation", tmp_path, "--out", tmp_path / "masks")
        assert (code, out) == (0, f"1 of 1 files: {tmp_path / 'masks'}\n")


def test_what_is_no_trial_is_said_with_the_trials_that_there_are(predict, trained_runs, tmp_path):
    image = write_png(tmp_path / "a.png")
    code, _, err = predict(str(trained_runs), image, "--out", tmp_path / "o")
    assert code == 2
    assert "is no finished trial's folder: it has no record.json. Trials in it: " in err
    code, _, err = predict(str(tmp_path / "none"), image, "--out", tmp_path / "o")
    assert (code, "`usfm-bench run` makes trials" in err) == (2, True)


def test_bits_of_the_trained_data_set_hold_for_new_images(tmp_path):
    levels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    cv2.imwrite(str(tmp_path / "a.png"), levels)
    assert open_frames(tmp_path / "a.png", bits=12).load(0).max() == 255
    assert open_frames(tmp_path / "a.png").load(0).max() == 15
