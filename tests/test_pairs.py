"""Pairs of low and high quality: simulated ones, folders of them, and what is wrong with folders."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from usfm_bench.core.errors import DataError
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.phantom import PhantomSpec, render, render_pair
from usfm_bench.specs.dataset import DatasetSpec

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
