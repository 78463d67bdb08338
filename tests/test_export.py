"""A compact copy opens as a data set of its own, keeps what matters, and lets no name out."""

import json
import re
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usfm_bench.cli import app as cli
from usfm_bench.core.errors import BenchError
from usfm_bench.data.audit.export import export_dataset, shrink
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.groups import assign_groups
from usfm_bench.data.sample import Case, Sample, Spacing
from usfm_bench.specs.dataset import DatasetSpec, load_registry

CLINIC = DatasetSpec(
    name="clinic",
    version=3,
    title="Nodules of Erika's clinic",
    tasks=("segmentation", "classification"),
    organ="thyroid",
    layout="manifest",
    path="somewhere/list.csv",
    licence="ours",
)


def make(n: int = 6, *, masks: bool = True, spacing: Spacing | None = None) -> Dataset:
    """`n` images of 60 x 90 px and more, of patients with two images each, with a lesion of 20 x 30 px."""
    samples = []
    for i in range(n):
        image = cv2.resize(np.random.default_rng(i).integers(0, 256, (6, 9), np.uint8), (90 + i, 60))
        mask = np.zeros(image.shape, bool)
        mask[20:40, 30:60] = i % 2
        case = Case(f"Mustermann-{n - i}.png", ("normal", "nodule")[i % 2], patient=f"Erika {i // 2}")
        samples.append(Sample(case, image, mask if masks else None, spacing))
    spec = CLINIC if masks else CLINIC.model_copy(update={"tasks": ("classification",)})
    return Dataset(spec, tuple(assign_groups(samples, spec)))


def unpack(path: Path, root: Path) -> None:
    with zipfile.ZipFile(path) if path.suffix == ".zip" else tarfile.open(path) as archive:
        archive.extractall(root)


def reopened(dataset: Dataset, size: int, tmp_path: Path, ending: str = ".zip") -> Dataset:
    """What a reader finds in the unpacked archive, with the entry that it brings along."""
    out = tmp_path / f"out{ending}"
    name = export_dataset(dataset, size, out)["dataset"]
    unpack(out, tmp_path)
    spec = load_registry(tmp_path / name / "datasets.yaml")[name]
    assert verify_dataset(spec, tmp_path).faults == []
    return open_dataset(spec, tmp_path)


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_a_copy_opens_with_the_entry_that_it_brings(tmp_path, ending):
    dataset = make()
    copy = reopened(dataset, 45, tmp_path, ending)
    by_id = sorted(dataset.samples, key=lambda s: s.case.case_id)
    assert [s.case.label for s in copy.samples] == [s.case.label for s in by_id]
    assert {max(s.image.shape) for s in copy.samples} == {45}
    for small, sample in zip(copy.samples, by_id, strict=True):
        assert small.mask.mean() == pytest.approx(sample.mask.mean(), rel=0.15)
        assert small.image.mean() == pytest.approx(sample.image.mean(), abs=2)


def test_images_that_are_small_enough_keep_their_pixels(tmp_path):
    dataset = make()
    copy = reopened(dataset, 95, tmp_path)
    by_id = sorted(dataset.samples, key=lambda s: s.case.case_id)
    for small, sample in zip(copy.samples, by_id, strict=True):
        np.testing.assert_array_equal(small.image, sample.image)
        np.testing.assert_array_equal(small.mask, sample.mask)


def test_groups_stay_together(tmp_path):
    dataset = make()
    copy = reopened(dataset, 45, tmp_path)
    by_id = sorted(dataset.samples, key=lambda s: s.case.case_id)
    pairs = {(s.group_id, c.group_id) for s, c in zip(by_id, copy.samples, strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 3


def test_no_name_of_a_patient_or_file_leaves(tmp_path):
    out = tmp_path / "out.tar"
    export_dataset(make(), 45, out)
    with tarfile.open(out) as archive:
        names = archive.getnames()
        table = archive.extractfile("clinic-45px/manifest.csv").read().decode()
    assert "Mustermann" not in " ".join(names) + table
    assert "Erika" not in table
    assert b"Mustermann" not in out.read_bytes()
    assert table.splitlines()[:2] == [
        "path,label,patient,mask,spacing_y,spacing_x",
        f"images/00001.png,nodule,{table.splitlines()[1].split(',')[2]},masks/00001.png,,",
    ]
    assert {row.split(",")[2] for row in table.splitlines()[1:]} == {"00001", "00002", "00003"}


def test_paths_are_relative_and_in_one_folder(tmp_path):
    out = tmp_path / "out.zip"
    export_dataset(make(), 45, out)
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
    assert all(re.fullmatch(r"clinic-45px/[a-z0-9/]+\.(png|csv|yaml)", name) for name in names)
    assert len(names) == len(set(names)) == 6 + 6 + 2


def test_unpacked_files_are_for_their_owner_and_can_be_read(tmp_path):
    export_dataset(make(), 45, tmp_path / "out.zip")
    export_dataset(make(), 45, tmp_path / "out.tar")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        modes = [entry.external_attr >> 16 for entry in archive.infolist()]
    with tarfile.open(tmp_path / "out.tar") as archive:
        modes += [entry.mode for entry in archive]
    assert set(modes) == {0o600}
    assert stat.S_IMODE((tmp_path / "out.zip").stat().st_mode) == 0o600


def test_spacing_grows_as_pixels_do(tmp_path):
    dataset = make(1, spacing=Spacing(0.1, 0.2))
    (small,) = [shrink(sample, 45) for sample in dataset.samples]
    # 60 x 90 px become 30 x 45, so each pixel is twice as high and wide.
    assert small.spacing == pytest.approx((0.2, 0.4))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), size=st.integers(16, 200))
def test_the_area_shown_in_millimetres_is_kept(height, width, size):
    spacing = Spacing(0.3, 0.7)
    sample = Sample(Case("a"), np.zeros((height, width), np.uint8), None, spacing)
    small = shrink(sample, size)
    rows, columns = cv2.imdecode(np.frombuffer(small.image, np.uint8), cv2.IMREAD_UNCHANGED).shape
    assert max(rows, columns) == min(size, max(height, width))
    assert (rows * small.spacing.y, columns * small.spacing.x) == pytest.approx((height * 0.3, width * 0.7))


def test_masks_stay_where_they_are(tmp_path):
    sample = Sample(Case("a"), np.zeros((100, 100), np.uint8), np.zeros((100, 100), bool))
    sample.mask[:50] = True
    small = cv2.imdecode(np.frombuffer(shrink(sample, 50).mask, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(small[:, 0] > 0, np.arange(50) < 25)
    assert set(np.unique(small)) == {0, 255}


def test_a_lesion_that_vanishes_is_counted(tmp_path):
    dataset = make(2)
    dataset.samples[1].mask[:] = False
    dataset.samples[1].mask[0, 0] = True
    assert export_dataset(dataset, 16, tmp_path / "out.zip")["lesions without a pixel left"] == 1


def test_a_data_set_without_masks(tmp_path):
    copy = reopened(make(masks=False), 45, tmp_path)
    assert {s.mask for s in copy.samples} == {None}
    assert copy.spec.tasks == ("classification",)


def test_the_entry_says_what_it_was_made_from(tmp_path):
    dataset = make()
    entry = reopened(dataset, 45, tmp_path).spec
    assert (entry.name, entry.version, entry.organ, entry.licence) == ("clinic-45px", 3, "thyroid", "ours")
    assert f"(data export --size 45) from 'clinic', version 3, data hash {dataset.content_hash}" in entry.source
    assert entry.paper_label is None


def test_the_same_data_give_the_same_bytes(tmp_path):
    for ending in (".zip", ".tar"):
        for name in "ab":
            export_dataset(make(), 45, tmp_path / f"{name}{ending}")
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_a_failure_keeps_what_was_there(tmp_path, monkeypatch):
    out = tmp_path / "out.zip"
    out.write_bytes(b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(BenchError, match=r"out\.zip: cannot be written: No space left on device"):
        export_dataset(make(), 45, out)
    assert out.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [out]


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(monkeypatch, capsys, tiny_registry):
    """Runs `usfm-bench data export`; gives (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        words = ["usfm-bench", "data", "export", *map(str, arguments), "--registry", str(tiny_registry)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return call


def test_a_simulated_data_set_is_exported_and_stays_simulated(bench, tmp_path):
    code, out, _ = bench("tiny-lesion", "--size", 32, "--out", tmp_path / "tiny.zip", "--format", "json")
    facts = json.loads(out)
    assert (code, facts["dataset"], facts["bytes"]) == (0, "tiny-lesion-32px", (tmp_path / "tiny.zip").stat().st_size)
    unpack(tmp_path / "tiny.zip", tmp_path)
    copy = open_dataset(load_registry(tmp_path / "tiny-lesion-32px" / "datasets.yaml")["tiny-lesion-32px"], tmp_path)
    assert copy.spec.synthetic
    assert {s.image.shape for s in copy.samples} == {(32, 32)}
    original = open_dataset(
        load_registry()["phantom-lesion"].model_copy(update={"options": {"n": 36, "size": 64}}), Path()
    )
    assert copy.samples[0].spacing == pytest.approx([2 * mm for mm in original.samples[0].spacing])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tiny --size 32 --out x.rar", "--out is 'x.rar'; its ending says what is written: .zip or .tar."),
        ("tny --size 32 --out x.zip", "Unknown dataset 'tny'. Did you mean 'tiny'?"),
        ("tiny --size 3 --out x.zip", "Invalid value for '--size'"),
        ("busi --data-root nowhere --size 32 --out x.zip", "Dataset 'busi' is not at 'nowhere/Dataset_BUSI_with_GT'"),
    ],
)
def test_a_users_fault_is_told(bench, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = bench(*arguments.split())
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


# ---- what `verify` says about such files -----------------------------------------------------------------------------


def test_verify_tells_sizes_mask_values_and_checksum(tmp_path):
    export_dataset(make(), 95, tmp_path / "copy.zip")
    unpack(tmp_path / "copy.zip", tmp_path)
    spec = load_registry(tmp_path / "clinic-95px" / "datasets.yaml")["clinic-95px"]
    mask = np.zeros((60, 95), np.uint8)
    mask[:9], mask[9], mask[30] = 255, 127, 3  # too thin to be areas of their own
    cv2.imwrite(str(tmp_path / "clinic-95px" / "masks" / "00001.png"), mask)
    facts = verify_dataset(spec, tmp_path).facts
    assert facts["width"] == [90, 95]
    assert facts["median width and height"] == [92.5, 60]
    assert facts["mask values"] == "0 and 255 alone in 5 of 6 files; 1 with 2 other values, 3 to 127"
    assert "checksum" not in facts


def test_verify_looks_for_the_archive_with_the_checksum(tmp_path):
    from usfm_bench.core.files import file_sha256

    root = tmp_path / "root"
    export_dataset(make(), 95, root / "copy.zip")
    unpack(root / "copy.zip", root)
    (root / "clinic-95px").rename(root / "x")
    (root / "x" / "copy.zip").write_bytes((root / "copy.zip").read_bytes())
    (root / "x" / "other.zip").write_bytes(b"other")
    spec = load_registry(root / "x" / "datasets.yaml")["clinic-95px"]
    here = spec.model_copy(update={"path": "x/manifest.csv", "checksum": file_sha256(root / "copy.zip")})
    assert verify_dataset(here, root).facts["checksum"] == "that of copy.zip"
    other = here.model_copy(update={"checksum": "0" * 64})
    assert verify_dataset(other, root).facts["checksum"].startswith(f"no archive in '{root / 'x'}' has the registry's")


def test_busi_shrinks(busi_root, tmp_path):
    """Its first images of each class, so that it is quick; what an export is for is in docs/adding.md."""
    whole = open_dataset(load_registry()["busi"], busi_root)
    facts = export_dataset(whole.subset(range(0, len(whole), 40)), 128, tmp_path / "busi.zip")
    assert facts["images"] == 20
    assert facts["bytes"] < 20 * 16_000
    assert facts["lesions without a pixel left"] == 0
