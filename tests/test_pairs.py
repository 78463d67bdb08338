"""Pairs of low and high quality: simulated ones, folders of them, and what is wrong with folders."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.add.adding import Request, add_dataset
from usfm_bench.data.audit.export import export_dataset
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.phantom import PhantomSpec, render, render_pair
from usfm_bench.specs.dataset import DatasetSpec, load_registry

SPEC = PhantomSpec(seed=2, n=12, size=64, low_probe="cheap")
ENTRY = {
    "name": "ours",
    "version": 1,
    "title": "t",
    "tasks": [],
    "organ": "breast",
    "layout": "pairs",
    "path": "ours",
    "options": {"images": "low/{id}.png", "good": "high/{id}.png", "patient": r"(P\d+)_"},
}


def test_a_simulated_pair_shows_one_anatomy_and_is_the_same_bytes_again():
    low, good = render_pair(SPEC, 3)
    again = render_pair(SPEC, 3)
    assert np.array_equal(low, again[0])
    assert np.array_equal(good.image, again[1].image)
    alone = render(SPEC.model_copy(update={"low_probe": None}), 3)
    assert np.array_equal(good.image, alone.image)
    assert np.array_equal(good.mask, alone.mask)


def coarse(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image.astype(float), (0, 0), 5)


def test_the_cheap_probe_is_registered_and_worse():
    matched, other = [], []
    for index in range(12):
        low, good = render_pair(SPEC, index)
        shifted = np.roll(good.image, 12, axis=1)
        matched.append(np.corrcoef(coarse(low).ravel(), coarse(good.image).ravel())[0, 1])
        other.append(np.corrcoef(coarse(low).ravel(), coarse(shifted).ravel())[0, 1])
        assert np.abs(low.astype(int) - good.image).mean() > 10
    assert np.mean(matched) > 0.6
    assert all(a > b for a, b in zip(matched, other, strict=True))


def picture(seed: int, shape: tuple[int, int] = (20, 24), kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape).astype(kind)


def folder(root: Path, pairs: dict[str, tuple[np.ndarray | None, np.ndarray | None]]) -> Path:
    for name, sides in pairs.items():
        for side, content in zip(("low", "high"), sides, strict=True):
            path = root / "ours" / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                cv2.imwrite(str(path), content)
    return root


def test_a_folder_of_pairs_is_read_and_grouped_by_patient(tmp_path, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path / "cache"))
    pairs = {f"P{i // 2}_{i}": (picture(i), picture(100 + i)) for i in range(6)}
    deep, colour = picture(9, kind=np.uint16), np.stack([picture(8)] * 3, axis=-1)
    pairs["P3_6"] = (deep, colour)
    root, spec = folder(tmp_path, pairs), DatasetSpec(**ENTRY)
    dataset = open_dataset(spec, root)
    assert len(dataset) == 7
    assert len(set(dataset.groups)) == 4
    by_id = {sample.case.case_id: sample for sample in dataset.samples}
    assert np.array_equal(by_id["low/P0_1.png"].good, picture(101))
    assert np.array_equal(by_id["low/P3_6.png"].good, picture(8))
    assert by_id["low/P3_6.png"].image.dtype == np.uint8
    cached = open_dataset(spec, root)  # the second time from the cache
    assert cached.content_hash == dataset.content_hash
    assert np.array_equal(cached.samples[1].good, dataset.samples[1].good)
    cv2.imwrite(str(root / "ours" / "high" / "P0_1.png"), picture(55))
    assert open_dataset(spec, root).content_hash != dataset.content_hash


def test_all_faults_of_a_folder_are_told_at_once(tmp_path):
    pairs = {
        "P1_size": (picture(1), picture(2, (9, 9))),
        "P2_alone": (picture(3), None),
        "P3_goodalone": (None, picture(4)),
        "P4_twice": (picture(5), picture(5)),
        "P5_fine": (picture(6), picture(7)),
    }
    root = folder(tmp_path, pairs)
    with pytest.raises(DataError) as caught:
        open_dataset(DatasetSpec(**ENTRY), root)
    said = str(caught.value).splitlines()
    assert len(said) == 4
    for name, what in (
        ("low/P1_size", "24 x 20 pixels"),
        ("low/P2_alone", "no partner of high quality"),
        ("high/P3_goodalone", "no partner of low quality"),
        ("low/P4_twice", "same pixels"),
    ):
        assert any(name in line and what in line for line in said)
    excluded = {f"low/{name}.png": "r" for name in ("P1_size", "P2_alone", "P4_twice")}
    rest = DatasetSpec(**(ENTRY | {"exclude": excluded, "options": ENTRY["options"] | {"ignore": "high/P3_*"}}))
    assert len(open_dataset(rest, root)) == 1


def two_folders(root: Path, low: str, high: str, *, ending: str = "png", deep: bool = False) -> Path:
    for i in range(12):
        for k, side in enumerate((low, high)):
            kind = ending if side == high else "png"
            path = root / side / (f"P{i // 2}" if deep else "") / f"view_{i}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture(100 * k + i))
    return root


def added(place: Path, tmp_path: Path, **more: str):
    request = Request("ours", place, tmp_path, registry=tmp_path / "datasets.yaml", **more)
    facts = add_dataset(request)
    return facts, open_dataset(load_registry(tmp_path / "datasets.yaml")["ours"], tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "ending", "deep"),
    [
        ("low", "high", "png", False),
        ("input", "target", "jpg", False),
        ("Low_Quality", "High_Quality", "png", True),
        ("lq-images", "hq-images", "tif", False),
    ],
)
def test_two_folders_of_low_and_high_quality_are_added_as_pairs(tmp_path, low, high, ending, deep):
    found, dataset = added(two_folders(tmp_path / "folder", low, high, ending=ending, deep=deep), tmp_path)
    assert dataset.spec.layout == "pairs"
    assert dataset.spec.tasks == ("enhancement",)
    assert dataset.spec.options["good"].startswith(f"{high}/")
    assert len(dataset) == 12
    assert len(set(dataset.groups)) == (6 if deep else 12)
    for sample in dataset.samples:
        i = int(sample.case.case_id.rpartition("_")[2].split(".")[0])
        assert np.array_equal(sample.image, picture(i))
        assert ending == "jpg" or np.array_equal(sample.good, picture(100 + i))
    assert "explained by nothing" not in {k for k, v in found.facts.items() if v}
    assert "--suite enhance " in found.commands[0]


def test_a_patient_is_taken_from_the_names_of_pairs(tmp_path):
    place = two_folders(tmp_path / "folder", "low", "high")
    dataset = added(place, tmp_path, patient=r"view_(\d)\d?\.")[1]
    assert len(set(dataset.groups)) == 10


def test_class_folders_and_masks_are_no_pairs(tmp_path):
    for i in range(6):
        for side, low in (("low", 0), ("high", 100)):  # of risk: other images in each
            path = tmp_path / "risk" / side / f"{side}_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture(low + i))
        for side, content in (("input", picture(i)), ("target", 255 * (picture(i) > 128).astype(np.uint8))):
            path = tmp_path / "lesions" / side / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), content)
    for name, task in (("risk", "classification"), ("lesions", "segmentation")):
        request = Request(name, tmp_path / name, tmp_path, registry=tmp_path / "datasets.yaml")
        add_dataset(request)
        assert load_registry(tmp_path / "datasets.yaml")[name].tasks == (task,)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda place: (place / "high" / "view_3.png").unlink(), "view_3.png: has no partner of high quality"),
        (lambda place: (place / "low" / "view_3.png").unlink(), "view_3.png: has no partner of low quality"),
        (lambda place: cv2.imwrite(str(place / "high" / "view_3.png"), picture(0, (9, 9))), "24 x 20 pixels"),
        (lambda place: cv2.imwrite(str(place / "high" / "view_3.png"), picture(3)), "the same pixels as its partner"),
    ],
    ids=["no good one", "no low one", "two sizes", "one twice"],
)
def test_a_bad_pair_is_named_and_nothing_is_added(tmp_path, spoil, words):
    place = two_folders(tmp_path / "folder", "low", "high")
    spoil(place)
    with pytest.raises(BenchError, match=words):
        added(place, tmp_path)
    assert not (tmp_path / "datasets.yaml").exists()


def test_pairs_are_exported_whole_and_open_again(tmp_path):
    spec = load_registry(None)["phantom-enhance"]
    pairs = open_dataset(spec.model_copy(update={"options": spec.options | {"n": 8, "size": 48}}), tmp_path)
    for size in (48, 24):
        out = tmp_path / f"{size}.zip"
        name = export_dataset(pairs, size, out)["dataset"]
        with zipfile.ZipFile(out) as archive:
            archive.extractall(tmp_path)
        copy = open_dataset(load_registry(tmp_path / name / "datasets.yaml")[name], tmp_path)
        assert copy.spec.tasks == ("enhancement",)
        for one, other in zip(pairs.samples, copy.samples, strict=True):
            expected = cv2.resize(one.good, (size, size), interpolation=cv2.INTER_AREA)
            assert np.array_equal(other.good, expected)
            assert other.image.shape == other.good.shape == other.mask.shape == (size, size)
            assert size < 48 or np.array_equal(one.image, other.image)


def test_a_list_of_pairs_names_its_faults(tmp_path):
    place = two_folders(tmp_path / "ours", "low", "high")
    rows = [f"low/view_{i}.png,high/view_{i}.png" for i in range(6)]
    rows += ["low/view_6.png,", "low/view_7.png,high/none.png", "low/view_8.png,../x.png"]
    (place / "list.csv").write_text("\n".join(["path,good", *rows]) + "\n")
    entry = ENTRY | {"layout": "manifest", "path": "ours/list.csv", "options": {}, "tasks": ["enhancement"]}
    with pytest.raises(DataError) as caught:
        open_dataset(DatasetSpec(**entry), tmp_path)
    for words in ("good is empty", "good 'high/none.png' does not exist", "good '../x.png' leaves the list's folder"):
        assert words in str(caught.value)
    (place / "list.csv").write_text("\n".join(["path,good", *rows[:6]]) + "\n")
    dataset = open_dataset(DatasetSpec(**entry), tmp_path)
    assert np.array_equal(dataset.samples[2].good, picture(102))
