"""DICOM files written with names, dates and identifiers: pixels and spacing come back, and nothing else is kept."""

import gzip
import hashlib
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset, open_reader
from usfm_bench.data.readers.dicom_palette import expand_segments
from usfm_bench.data.sample import Sample
from usfm_bench.specs.dataset import DatasetSpec

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset as Tags  # noqa: E402
from pydicom.dataset import FileMetaDataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

SHAPE = (60, 80)
SECRETS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "MRN-4711-0815",
    "PatientBirthDate": "19640812",
    "PatientAddress": "Heidestrasse 17",
    "InstitutionName": "Klinikum Musterstadt",
    "ReferringPhysicianName": "Quincy^Jack",
    "OperatorsName": "Sonographer^Sam",
    "AccessionNumber": "ACC998877",
    "StudyDate": "20190401",
    "StudyTime": "101112.345",
    "StudyDescription": "Mamma links Mustermann",
    "DeviceSerialNumber": "SN123456X",
    "StudyInstanceUID": "1.2.276.0.7230010.3.1.2.99887766",
    "SOPInstanceUID": "1.2.276.0.7230010.3.1.4.55443322",
}


def picture(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def region(
    top: int, bottom: int, left: int, right: int, *, spatial: int = 1, delta=(0.02, 0.01), units: int = 3
) -> Tags:
    """An ultrasound region, ends not included; deltas in cm, down the rows first."""
    item = Tags()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMaxX1 = left, right - 1
    item.RegionLocationMinY0, item.RegionLocationMaxY1 = top, bottom - 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaY, item.PhysicalDeltaX = delta
    return item


def write(
    path: Path, pixels: np.ndarray, regions=(), *, form="MONOCHROME2", syntax=ExplicitVRLittleEndian, **tags
) -> Path:
    """(H, W), (N, H, W) or (..., 3) pixels as an ultrasound image, with all `SECRETS` in its tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = form not in ("MONOCHROME1", "MONOCHROME2")
    frames = pixels if pixels.ndim == 3 + colour else pixels[None]
    ds = Tags()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    for name, value in SECRETS.items():
        setattr(ds, name, value)
    private = ds.private_block(0x0011, "Maker of Mustermann", create=True)
    private.add_new(0x01, "LO", SECRETS["PatientName"])
    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if colour else 1), form
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    if colour:
        ds.PlanarConfiguration = 0
    if regions:
        ds.SequenceOfUltrasoundRegions = list(regions)
    ds.PixelData = frames.tobytes()
    if syntax == RLELossless:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(RLELossless)
    if syntax in (JPEGBaseline8Bit, JPEGLossless):
        ds.PixelData = pydicom.encaps.encapsulate([cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames])
        ds["PixelData"].VR = "OB"
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def entry(options: dict | None = None, **more) -> DatasetSpec:
    facts = {"version": 1, "title": "mine", "tasks": ("classification",), "organ": "breast", "path": "mine"}
    return DatasetSpec(name="mine", layout="dicom", options=options or {}, **facts | more)


def opened(root: Path, options: dict | None = None, **more) -> Dataset:
    return open_dataset(entry(options, **more), root)


def single(root: Path, *args, options: dict | None = None, **how) -> Sample:
    write(root / "mine" / "x.dcm", *args, **how)
    (sample,) = opened(root, options).samples
    return sample


# ---- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
def test_grey_levels_come_back_bit_for_bit(tmp_path, syntax):
    np.testing.assert_array_equal(single(tmp_path, picture(0), syntax=syntax).image, picture(0))


def test_a_jpeg_compressed_frame_is_decoded(tmp_path):
    smooth = cv2.GaussianBlur(picture(0), (0, 0), 4)
    found = single(tmp_path, smooth, syntax=JPEGBaseline8Bit).image
    assert np.abs(found.astype(int) - smooth).max() <= 8


def test_monochrome1_is_inverted(tmp_path):
    np.testing.assert_array_equal(single(tmp_path, picture(0), form="MONOCHROME1").image, 255 - picture(0))


def test_colour_is_weighed_by_luminance(tmp_path):
    rgb = picture(0, (*SHAPE, 3))
    np.testing.assert_array_equal(single(tmp_path, rgb, form="RGB").image, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def test_ybr_is_turned_into_rgb_first(tmp_path):
    grey = np.stack([picture(0), np.full(SHAPE, 128, np.uint8), np.full(SHAPE, 128, np.uint8)], -1)
    assert np.abs(single(tmp_path, grey, form="YBR_FULL").image.astype(int) - picture(0)).max() <= 1


def test_of_12_bits_the_highest_8_are_kept(tmp_path):
    deep = picture(0).astype(np.uint16) * 16 + 9
    sample = single(tmp_path, deep, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(sample.image, picture(0))


@pytest.mark.parametrize(("stored", "high"), [(12, 11), (12, 15), (10, 13), (8, 15)])
def test_levels_lie_below_the_high_bit_and_overlays_do_not_count(tmp_path, stored, high):
    lowest = high + 1 - stored
    numbers = (picture(0).astype(np.uint16) << (stored - 8)) << lowest
    others = np.uint16(0xFFFF & ~(((1 << stored) - 1) << lowest))
    noise = np.random.default_rng(1).integers(0, 2**16, SHAPE, dtype=np.uint16) & others
    sample = single(tmp_path, numbers | noise, BitsStored=stored, HighBit=high)
    np.testing.assert_array_equal(sample.image, picture(0))


def test_12_bits_that_are_said_to_be_16_are_noted_and_an_option_reads_them(tmp_path):
    write(tmp_path / "mine" / "x.dcm", picture(0).astype(np.uint16) * 16 + 15, [region(0, 60, 0, 80)])
    assert "1 images of 16 bits reach level 4095 of 65535 at most" in opened(tmp_path).notes[0]
    data = opened(tmp_path, {"bits": 12})
    assert data.notes == ()
    np.testing.assert_array_equal(data.samples[0].image, picture(0))


def test_colours_are_never_signed(tmp_path):
    rgb = picture(0, (*SHAPE, 3))
    found = single(tmp_path, rgb, form="RGB", PixelRepresentation=1).image
    np.testing.assert_array_equal(found, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def test_planes_may_lie_one_after_another(tmp_path):
    rgb = picture(0, (*SHAPE, 3))
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).reshape(rgb.shape)
    found = single(tmp_path, planes, form="RGB", PlanarConfiguration=1).image
    np.testing.assert_array_equal(found, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"RescaleSlope": "-1", "RescaleIntercept": "255"}, "run from white to black"),
        ({"ModalityLUTSequence": [Tags()]}, "stand for others in a table"),
        ({"PixelRepresentation": 1}, "which of them is black is not stated"),
        ({"BitsStored": 12}, "12-bit pixels from bit -4 on of the form 'MONOCHROME2' are not read"),
    ],
)
def test_levels_that_are_no_greys_are_refused_in_words(tmp_path, tags, message):
    with pytest.raises(DataError, match=message):
        single(tmp_path, picture(0), **tags)


# ---- palettes --------------------------------------------------------------------------------------------------------

TABLE = np.random.default_rng(7).integers(0, 256, (256, 3)).astype(np.uint16)


def palette(table: np.ndarray, first: int = 0, depth: int = 16, *, width: str = "<u2", segmented: bool = False) -> dict:
    tags = {}
    for colour, plane in zip(("Red", "Green", "Blue"), table.T, strict=True):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [len(plane) % 65536, first, depth]
        name = f"{'Segmented' * segmented}{colour}PaletteColorLookupTableData"
        content = plane.astype(width).tobytes()
        tags[name] = content + bytes(len(content) % 2)
    return tags


def as_grey(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb.astype(np.uint8), cv2.COLOR_RGB2GRAY)


def indexed(path: Path, numbers: np.ndarray, tags: dict, **more) -> np.ndarray:
    return single(path, numbers, PhotometricInterpretation="PALETTE COLOR", **tags, **more).image


@pytest.mark.parametrize(
    ("scale", "depth", "width"),
    [(257, 16, "<u2"), (256, 16, "<u2"), (1, 16, "<u2"), (1, 8, "u1"), (1, 8, "<u2")],  # the third is a known mistake
)
def test_a_palette_gives_its_colours(tmp_path, scale, depth, width):
    found = indexed(tmp_path, picture(0), palette(TABLE * scale, depth=depth, width=width))
    np.testing.assert_array_equal(found, as_grey(TABLE[picture(0)]))


def test_numbers_outside_a_palette_have_its_first_and_last_colour(tmp_path):
    found = indexed(tmp_path, picture(0), palette(TABLE[:101] * 257, first=20))
    np.testing.assert_array_equal(found, as_grey(TABLE[np.clip(picture(0).astype(int) - 20, 0, 100)]))


@pytest.mark.parametrize(("depth", "width"), [(16, "<u2"), (8, "u1")])
def test_a_palette_of_65536_entries_is_not_cut(tmp_path, depth, width):
    table = np.random.default_rng(8).integers(0, 256, (65536, 3)).astype(np.uint16)
    deep = np.random.default_rng(9).integers(0, 65536, SHAPE, dtype=np.uint16)
    found = indexed(tmp_path, deep, palette(table * (257 if depth == 16 else 1), depth=depth, width=width))
    np.testing.assert_array_equal(found, as_grey(table[deep]))


def test_segments_expand_as_pydicom_expands_them():
    words = [0, 3, 5, 9, 1000, 1, 7, 300, 0, 1, 65535, 1, 16, 0]
    expected = pydicom.pixels.processing._expand_segmented_lut(tuple(words), "<H")
    assert expand_segments(np.array(words), wide=True).tolist() == expected
    # The offset of what is repeated counts bytes: 10 of them are the five words of the first segment.
    repeated = [*words, 2, 1, 10, 0]
    line = [round(x) for x in np.linspace(0, 300, 8)[1:]]
    assert expand_segments(np.array(repeated), wide=True).tolist() == [*expected, *line]


@pytest.mark.parametrize(
    "words",
    [
        [1, 4, 9],
        [0, 9, 1],
        [3, 1, 1],
        [0, 1, 5, 2, 1, 200, 0],
        [2, 1, 0, 0],
        [0, 1, 5, 1, 65535, 1, 1, 65535, 2],
    ],
)
def test_damaged_segments_are_refused(words):
    with pytest.raises(ValueError, match=r"segment|entries"):
        expand_segments(np.array(words), wide=True)


# ---- compressions ----------------------------------------------------------------------------------------------------


def test_a_compression_says_which_package_it_needs(tmp_path, monkeypatch):
    from pydicom.pixels import get_decoder

    whole = write(tmp_path / "mine" / "x.dcm", picture(2), syntax=JPEGBaseline8Bit)
    for syntax, package in [
        (JPEGLosslessSV1, r"needs python-gdcm: pip install 'usfm-bench\[medical\]'"),
        (HTJ2KLossless, "needs pip install pylibjpeg pylibjpeg-openjpeg"),
        (MPEG4HP41, "which is not decoded here. Rewrite it uncompressed"),
    ]:
        tags = pydicom.dcmread(whole)
        tags.file_meta.TransferSyntaxUID = syntax
        tags.save_as(whole, enforce_file_format=True)
        if syntax != MPEG4HP41:
            monkeypatch.setattr(type(get_decoder(syntax)), "is_available", False)
        with pytest.raises(DataError, match=rf"x\.dcm: is compressed as '.*', .*{package}"):
            opened(tmp_path)
        monkeypatch.undo()


def test_real_files_are_all_read_and_those_of_one_picture_are_equal():
    root = Path(__file__).parents[2] / "shared" / "datasets" / "dicom-us"
    if not root.is_dir():
        pytest.skip("the real DICOM files are not here")
    pytest.importorskip("gdcm")
    data = open_dataset(entry(path="dicom-us"), root.parent)
    images = {s.case.case_id.partition("/")[2].removesuffix(".dcm"): s.image for s in data.samples}
    assert len({s.case.image for s in data.samples}) == 21
    for one, other in [
        ("US1_J2KI", "US1_UNCI"), ("US1_J2KR", "US1_UNCR"), ("US1_RLE", "US1_UNCR"), ("color-pl", "color-px"),
        ("OBXXXX1A", "OBXXXX1A_expb"), ("OBXXXX1A", "OBXXXX1A_rle"), ("gdcm-US-ALOKA-16", "gdcm-US-ALOKA-16_big"),
        ("OBXXXX1A_2frame.dcm#0001", "OBXXXX1A_expb_2frame.dcm#0001"),
    ]:  # fmt: skip
        np.testing.assert_array_equal(images[one], images[other])


# ---- regions ---------------------------------------------------------------------------------------------------------


def test_the_frame_is_cropped_to_its_region_and_burned_in_text_is_gone(tmp_path):
    burned = cv2.putText(np.zeros(SHAPE, np.uint8), "ERIKA", (2, 9), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255)
    burned[20:50, 10:70] = picture(0)[20:50, 10:70]
    sample = single(tmp_path, burned, [region(20, 50, 10, 70)])
    np.testing.assert_array_equal(sample.image, picture(0)[20:50, 10:70])
    # 0.02 cm a row and 0.01 cm a column are 0.2 and 0.1 mm
    assert sample.spacing == pytest.approx((0.2, 0.1))


def test_two_regions_are_united_and_what_lies_between_is_black(tmp_path):
    sample = single(tmp_path, picture(0), [region(10, 50, 0, 30), region(20, 60, 50, 80)])
    expected = np.zeros((50, 80), np.uint8)
    expected[0:40, 0:30] = picture(0)[10:50, 0:30]
    expected[10:50, 50:80] = picture(0)[20:60, 50:80]
    np.testing.assert_array_equal(sample.image, expected)
    assert sample.spacing == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize(
    ("regions", "spacing"),
    [
        ([region(0, 60, 0, 80, delta=(-0.02, 0.01))], (0.2, 0.1)),  # the sign is a direction
        ([region(0, 60, 0, 80, units=4)], None),  # seconds
        ([region(0, 60, 0, 80, delta=(0.0, 0.01))], None),
        ([region(0, 60, 0, 40), region(0, 60, 40, 80, delta=(0.03, 0.03))], None),
        ([region(0, 60, 0, 40), region(0, 60, 40, 80, units=0)], None),
        ([region(0, 60, 0, 80), region(50, 60, 0, 80, spatial=3, delta=(9, 9))], (0.2, 0.1)),  # Doppler beside it
        ([region(0, 999, 0, 999)], (0.2, 0.1)),  # beyond the frame
    ],
)
def test_spacing_comes_from_the_two_dimensional_regions(tmp_path, regions, spacing):
    sample = single(tmp_path, picture(0), regions)
    assert sample.spacing == (spacing and pytest.approx(spacing))
    assert sample.image.shape == SHAPE


def test_the_notes_say_what_files_do_not_state(tmp_path):
    write(tmp_path / "mine" / "a.dcm", picture(0), PatientID="")
    write(tmp_path / "mine" / "b.dcm", picture(1), [region(0, 60, 0, 80, units=0)])
    write(tmp_path / "mine" / "m-mode.dcm", picture(2), [region(0, 60, 0, 80, spatial=2)])
    write(tmp_path / "mine" / "fine.dcm", picture(3), [region(0, 60, 0, 80)])
    data = opened(tmp_path)
    assert [s.case.case_id for s in data.samples] == ["a.dcm", "b.dcm", "fine.dcm"]
    assert data.notes == (
        "1 of 4 files show no two-dimensional picture (M-mode, Doppler) and are left out",
        "1 of 4 files state no ultrasound region: whole frames, with any text burned into them",
        "1 of 4 files state no pixel spacing, or several",
        "1 of 4 files have no PatientID",
    )


# ---- cases -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "expected"), [({"every": 1}, [0, 1, 2, 3, 4]), ({"every": 2}, [0, 2, 4]), ("first", [0])]
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_frames_are_cases_of_one_group(tmp_path, frames, expected, syntax):
    clip = picture(0, (5, *SHAPE))
    write(tmp_path / "mine" / "clip.dcm", clip, PatientID="", syntax=syntax)
    data = opened(tmp_path, {"frames": frames})
    assert [s.case.case_id for s in data.samples] == [f"clip.dcm#{i:04d}" for i in expected]
    for sample, i in zip(data.samples, expected, strict=True):
        np.testing.assert_array_equal(sample.image, clip[i])
    assert len(set(data.groups)) == 1


def test_files_of_one_patient_are_one_group_by_a_digest(tmp_path):
    for i, patient in enumerate(["A", "A ", "B"]):
        write(tmp_path / "mine" / f"{i}.dcm", picture(i), PatientID=patient)
    data = opened(tmp_path)
    assert data.groups[0] == data.groups[1] != data.groups[2]
    assert data.samples[0].case.patient == hashlib.sha256(b"a").hexdigest()[:12]
    assert len(set(opened(tmp_path, {"group_by": "file"}).groups)) == 3


def test_classes_and_patients_may_come_from_the_path(tmp_path):
    for i, name in enumerate(["benign/P1/1.2.840.1", "benign/P1/1.2.840.2", "malignant/P2/IM 3"]):
        write(tmp_path / "mine" / name, picture(i))
    (tmp_path / "mine" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "mine" / "notes.txt").write_text("not an image")
    data = opened(tmp_path, {"images": "{label}/{patient}/{id}"}, classes=("benign", "malignant"))
    assert data.labels.tolist() == [0, 0, 1]
    assert [s.case.patient for s in data.samples] == ["P1", "P1", "P2"]


def test_masks_beside_the_files_are_cropped_with_them(tmp_path):
    write(tmp_path / "mine" / "x.dcm", picture(0), [region(20, 50, 10, 70)])
    mask = (picture(1) > 128).astype(np.uint8) * 255
    Pillow.fromarray(mask).save(tmp_path / "mine" / "x_mask.png")
    Pillow.fromarray(mask).save(tmp_path / "mine" / "screenshot.png")
    options = {"images": "{id}.dcm", "masks": "{id}_mask.png"}
    (sample,) = opened(tmp_path, options, tasks=("segmentation",)).samples
    np.testing.assert_array_equal(sample.mask, mask[20:50, 10:70] > 0)
    write(tmp_path / "mine" / "x.dcm", picture(0, (3, *SHAPE)))
    with pytest.raises(DataError, match=r"x\.dcm: has 3 frames, and a mask that could be of any of them"):
        opened(tmp_path, options, tasks=("segmentation",))


# ---- faults ----------------------------------------------------------------------------------------------------------


def test_faults_name_every_file_and_quote_no_tag(tmp_path):
    root = tmp_path / "mine"
    write(root / "fine.dcm", picture(0))
    whole = write(root / "half.dcm", picture(1)).read_bytes()
    (root / "half.dcm").write_bytes(whole[:-2000])
    (root / "head.dcm").write_bytes(whole[:300])
    (root / "empty.dcm").write_bytes(b"")
    (root / "text.dcm").write_text("no DICOM, but a name: Mustermann")
    write(root / "vast.dcm", picture(2), Rows=60_000, Columns=60_000)
    write(root / "many.dcm", picture(2), NumberOfFrames=2_000_000_000)
    write(root / "signed.dcm", picture(2), PixelRepresentation=1)
    write(root / "palette.dcm", picture(2), PhotometricInterpretation="PALETTE COLOR")
    write(root / "named.dcm", picture(2), PhotometricInterpretation="RGB", SamplesPerPixel=3)
    broken = pydicom.encaps.encapsulate([b"no JPEG" * 10])
    write(root / "jpeg.dcm", picture(2), syntax=JPEGBaseline8Bit, PixelData=broken)
    write(root / "flat.dcm", picture(2), [region(50, 50, 0, 80)])
    write(root / "deflated.dcm", picture(2), syntax=DeflatedExplicitVRLittleEndian)
    (root / "link.dcm").symlink_to(write(tmp_path / "outside.dcm", picture(3)))
    with pytest.raises(DataError) as error:
        opened(tmp_path)
    faults = str(error.value).split("\n")
    expected = {
        "half": "frame 0 cannot be decoded", "head": "damaged, or not a DICOM", "empty": "damaged, or not a DICOM",
        "text": "damaged, or not a DICOM", "vast": "claims 1 frames of 60000 x 60000", "many": "claims 2000000000",
        "signed": "signed 8-bit pixels", "palette": "its look-up table is missing", "named": "frame 0 cannot be",
        "jpeg": "frame 0 cannot be decoded", "flat": "damaged, or not a DICOM", "deflated": "is deflated",
        "link": "is a link that leaves",
    }  # fmt: skip
    for name, what in expected.items():
        assert sum(f.startswith(f"{root / name}.dcm: ") and what in f for f in faults) == 1, (name, faults)
    assert len(faults) == len(expected)
    assert not [secret for secret in SECRETS.values() if secret in str(error.value)]
    assert set(faults) == set(verify_dataset(entry(), tmp_path).faults)


@pytest.mark.parametrize(
    "options", [{"frames": "last"}, {"frames": {"every": 0}}, {"frame": "first"}, {"group_by": "name"}]
)
def test_wrong_options_are_named(tmp_path, options):
    with pytest.raises(DataError, match=r"Dataset 'mine': options\."):
        open_reader(entry(options), tmp_path)


# ---- what is written -------------------------------------------------------------------------------------------------


def everything_written(folder: Path) -> bytes:
    """All files bytewise, and again as they read once unpacked."""
    parts = []
    for path in (p for p in folder.rglob("*") if p.is_file()):
        parts += [str(path).encode(), path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts += [archive.read(name) for name in archive.namelist()]
        elif path.suffix == ".parquet":
            parts.append(pd.read_parquet(path).to_csv().encode())
        elif path.suffix == ".gz":
            parts.append(gzip.decompress(path.read_bytes()))
    return b"\n".join(parts)


def test_nothing_of_the_tags_is_in_any_file_that_is_written_or_printed(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path / "written" / "cache"))
    for i in range(12):
        label = ("benign", "malignant")[i % 2]
        light = picture(i) // (1 + i % 2)
        write(
            tmp_path / "data" / "mine" / label / f"{i:02d}.dcm",
            light,
            [region(0, 60, 0, 80)],
            PatientID=f"MRN-4711-{i:04d}",
        )
    registry = tmp_path / "sets.yaml"
    registry.write_text(
        "clinical: {version: 1, title: mine, tasks: [classification], organ: breast, layout: dicom, path: mine,\n"
        "           classes: [benign, malignant], options: {images: '{label}/{id}.dcm'}}\n"
    )
    out = tmp_path / "written"
    out.mkdir()
    where = ["--data-root", str(tmp_path / "data"), "--registry", str(registry)]
    which = ["--suite", "clinical-cls", "--profile", "smoke", "--runs", str(out / "runs")]
    printed = ""
    for form in ("text", "json"):
        done = CliRunner().invoke(app, ["data", "verify", "clinical", *where, "--format", form])
        assert done.exit_code == 0, done.output
        printed += done.output
    for command in (
        ["run", *which, *where, "--models", "timm:test_resnet@scratch", "--seeds", "1", "--device", "cpu"],
        *(["report", *which, "--format", form, "--out", str(out / f"r.{form}")] for form in ("json", "csv", "latex")),
        ["report", *which, "--format", "markdown", "--out", str(out / "markdown")],
        ["report", *which, "--format", "html", "--data-root", where[1], "--out", str(out / "page")],
        ["baseline", *which, "--out", str(out / "baseline.json")],
        ["data", "audit", "clinical", *where, "--sheet", str(out / "sheet.html")],
        ["data", "export", "clinical", *where, "--size", "32", "--out", str(out / "small.zip")],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        printed += done.output
    written = everything_written(out) + printed.encode() + "".join(capfd.readouterr()).encode()
    assert b"benign/" in written
    assert b"data:image/" in (out / "page" / "index.html").read_bytes()
    assert {path.name for path in out.glob("cache/*")} != set()
    digests = [hashlib.sha256(f"MRN-4711-{i:04d}".encode()).hexdigest()[:12] for i in range(12)]
    found = [s for s in (*SECRETS.values(), "Mustermann", "MRN-4711", "Musterstadt", *digests) if s.encode() in written]
    assert not found
    wide = [secret for secret in SECRETS.values() if secret.encode("utf-16-le") in written]
    assert not wide
