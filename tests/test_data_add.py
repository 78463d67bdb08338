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
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.data import archive
from usfm_bench.data.adding import Added, Request, add_dataset
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.folder_names import folder_roles, order_classes, positive_class, suggest_patients
from usfm_bench.data.registry_file import append_entry
from usfm_bench.data.spec import load_registry
from usfm_bench.errors import BenchError, DataError

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
        names = {"i": i, "c": CLASSES[i % 2], "s": ("train", "val", "test")[i % 3], "set": ("training", "val", "test")[i % 3]}
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


LAYOUTS = {
    # images, masks -> layout, options but values, classes known
    "class folders": ("{c}/{i}.png", "", "imagefolder", {}, True),
    "odd names": ("Größe {c}/Bild № {i} (a).PNG", "", "imagefolder", {}, True),
    "deep class folders": ("export/2024/{c}/x/{i}.jpg", "", "imagefolder", {}, True),
    "numbered classes": ("{c:.1s}0/{i}.png", "", "imagefolder", {}, True),
    "class and patient": ("{c}/P{i:02d}/a.png", "", "masks", {"images": "{label}/{patient}/{id}.png"}, True),
    "sides and classes": ("{s}/{c}/{i}.png", "", "masks", {"images": "{split}/{label}/{id}.png"}, True),
    "parallel": ("images/{i}.png", "masks/{i}.png", "masks", {"images": "images/{id}.png", "masks": "masks/{id}.png"}, False),
    "parallel, unusual words": ("us/{i}.jpg", "roi/{i}.png", "masks", {"images": "us/{id}.jpg", "masks": "roi/{id}.png"}, False),
    "parallel, per class": (
        "{c}/images/{i}.png", "{c}/gt/{i}.png",
        "masks", {"images": "{label}/images/{id}.png", "masks": "{label}/gt/{id}.png"}, True,
    ),
    "parallel, with classes": (
        "images/{c}/{i}.png", "masks/{c}/{i}.png",
        "masks", {"images": "images/{label}/{id}.png", "masks": "masks/{label}/{id}.png"}, True,
    ),
    "parallel, per side, with suffix": (
        "{s}/img/{i}.png", "{s}/label/{i}_seg.png",
        "masks", {"images": "{split}/img/{id}.png", "masks": "{split}/label/{id}_seg.png"}, False,
    ),
    "parallel, both with affixes": (
        "Images/bus_{i:03d}-l.png", "Masks/mask_{i:03d}-l.png",
        "masks", {"images": "Images/bus_{id}.png", "masks": "Masks/mask_{id}.png"}, False,
    ),
    "a folder within": ("{i}.png", "masks/{i}.png", "masks", {"images": "{id}.png", "masks": "masks/{id}.png"}, False),
    "suffix": ("{i}.png", "{i}_mask.png", "masks", {"images": "{id}.png", "masks": "{id}_mask.png"}, False),
    "suffix with dash, per class": (
        "{c}/scan {i}.png", "{c}/scan {i}-GT.png", "masks", {"images": "{label}/{id}.png", "masks": "{label}/{id}-GT.png"}, True,
    ),
    "two suffixes": ("{i}_image.png", "{i}_label.png", "masks", {"images": "{id}_image.png", "masks": "{id}_label.png"}, False),
    "prefix": ("{i}.png", "seg_{i}.png", "masks", {"images": "{id}.png", "masks": "seg_{id}.png"}, False),
    "per patient": ("P{i:02d}/image.png", "P{i:02d}/mask.png", "masks", {"images": "{id}/image.png", "masks": "{id}/mask.png"}, False),
    "per class and patient": (
        "{c}/P{i:02d}/us.png", "{c}/P{i:02d}/lesion.png", "masks", {"images": "{label}/{id}/us.png", "masks": "{label}/{id}/lesion.png"}, True,
    ),
    "published": ("{set}_set/image/{i}.png", "{set}_set/mask/{i}.png", "usfm", {}, False),
    "published, classes": ("{set}_set/{c}/{i}.png", "", "usfm", {}, True),
    "busi": ("{c}/{c} ({i}).png", "{c}/{c} ({i})_mask.png", "busi", {}, True),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("level", [255, 1], ids=["white", "ones"])
def test_unknown_layouts_are_read(case, level):
    images, masks, layout, options, classes = case
    if level == 1 and layout not in ("usfm", "masks"):
        return
    write(images, masks, level=level)
    data = added()
    assert data.spec.layout == layout
    grey = {"values": "nonzero"} if level == 1 and masks else {}
    assert data.spec.options == options | grey
    assert (len(data), data.spec.n_images, len(data.classes)) == (12, 12, 2 * classes)
    assert set(data.spec.tasks) == {"segmentation"} & {"segmentation" * bool(masks)} | {"classification"} & {"classification" * classes}
    for sample in data.samples:  # the right mask with the right picture
        number = next(i for i in range(12) if np.abs(sample.image.astype(int) - picture(i)).mean() < 25)
        assert sample.mask is None if not masks else np.array_equal(sample.mask, blob(number) > 0)
