"""What is too large for memory lies in files, gives the same bits, leaves nothing behind, and memory does not grow."""

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from usfm_bench.core.errors import BenchError
from usfm_bench.data import cache, grids, loaders, scratch
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.loaders import Picked, network_data
from usfm_bench.data.packed import Channel, PackedMasks, pack
from usfm_bench.data.sample import retold
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import DatasetSpec, load_registry
from usfm_bench.specs.task import TASKS
from usfm_bench.suites.plan import load_suite, plan_suite

CPU = torch.device("cpu")
SPEC = DatasetSpec(
    name="mine", version=1, title="mine", tasks=("segmentation",), organ="breast", layout="manifest", path="list.csv"
)


def write_cases(root: Path, n: int, shape: tuple[int, int] = (37, 53)) -> Path:
    """A list of images and masks, whose pixels end within a byte."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["path,label,mask,patient\n"]
    for i in range(n):
        cv2.imwrite(str(root / f"{i}.png"), rng.integers(0, 256, shape, dtype=np.uint8))
        cv2.imwrite(str(root / f"{i}-m.png"), rng.integers(0, 2, shape, dtype=np.uint8) * 255)
        rows.append(f"{i}.png,a,{i}-m.png,p{i}\n")
    (root / "list.csv").write_text("".join(rows))
    return root


@pytest.fixture
def nothing_in_memory(monkeypatch, tmp_path):
    """Every array is too large for memory; temporary files lie in a folder of their own."""
    for module in (cache, scratch, loaders):
        monkeypatch.setattr(module, "IN_MEMORY", 0)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def root(tmp_path):
    return write_cases(tmp_path / "data", 9)


# ---- packed masks ----------------------------------------------------------------------------------------------------


def test_masks_are_packed_as_all_at_once():
    rng = np.random.default_rng(0)
    masks = [rng.random(shape) < 0.4 for shape in ((3, 5), (2, 4, 7), (0, 3), (1, 1), (8, 8), (9, 3))]
    packed = pack(masks)
    np.testing.assert_array_equal(packed.bits, np.packbits(np.concatenate([mask.ravel() for mask in masks])))
    for one, other in zip(packed, masks, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert [mask.shape for mask in packed[-2:]] == [(8, 8), (9, 3)]
    np.testing.assert_array_equal(packed[-1], masks[-1])
    np.testing.assert_array_equal(Channel([masks[1]], 1)[0], masks[1][1])
    with pytest.raises(IndexError):
        packed[6]
    with pytest.raises(ValueError, match="bytes of masks"):
        PackedMasks([(3, 5)], np.zeros(3, np.uint8))


def mapped_bytes():
    """Of files, in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("RssFile", "RssShmem")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says of memory")
def test_masks_in_a_file_take_no_memory_that_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "IN_MEMORY", 2**20)
    mask = np.random.default_rng(0).random((800, 1000)) < 0.5
    n, packed = 400, mask.size // 8
    before, most = mapped_bytes(), [0]

    def look():
        most[0] = max(most[0], mapped_bytes() - before)

    masks = PackedMasks([mask.shape] * n)
    for i in range(n):
        masks.put(i, mask)
        look()
    for found in masks:
        assert found[0, 0] == mask[0, 0]
        look()
    save_predictions(tmp_path / "p.npz", Masks(masks))
    look()
    with np.load(tmp_path / "p.npz") as kept:
        np.testing.assert_array_equal(kept["bits"][-packed:], np.packbits(mask))
    np.savez_compressed(tmp_path / "plain.npz", bits=masks.bits)
    assert (tmp_path / "plain.npz").read_bytes() == (tmp_path / "p.npz").read_bytes()
    assert most[0] < n * packed / 2


class Masks:
    """Predictions of one array."""

    def __init__(self, masks):
        self.masks = masks

    def arrays(self):
        return {"bits": self.masks.bits}


# ---- decoded images --------------------------------------------------------------------------------------------------


def test_a_large_data_set_is_the_same_from_a_file_that_nobody_sees(root, monkeypatch, request):
    small = open_dataset(SPEC, root)
    folder = request.getfixturevalue("nothing_in_memory")
    large = open_dataset(SPEC, root)
    assert large.content_hash == small.content_hash
    for one, other in zip(large.samples, small.samples, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.packed == other.packed
        assert (one.case, one.shape, one.group_id, one.pixel_hash) == (
            *(other.case, other.shape, other.group_id),
            other.pixel_hash,
        )
    assert large.samples[0].image is not large.samples[0].image  # read when asked for, and not kept
    assert replace(large.samples[0], group_id="x").image.shape == (37, 53)
    assert list(folder.iterdir()) == []


def test_other_facts_of_a_case_read_no_pixels(root, nothing_in_memory, monkeypatch):
    sample = open_dataset(SPEC, root).samples[0]
    monkeypatch.setattr(os, "pread", lambda *_: pytest.fail("read"))
    other = retold(sample, group_id="other")
    assert (other.group_id, other.shape, other.n_masks, sample.group_id != "other") == ("other", (37, 53), 1, True)


@pytest.mark.usefixtures("nothing_in_memory")
def test_decoding_more_images_takes_no_more_memory(tmp_path):
    def peak(n):
        data = write_cases(tmp_path / str(n), n, (200, 300))
        tracemalloc.start()
        open_dataset(SPEC, data)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(128), peak(256)
    pixels = 128 * 2 * 200 * 300  # image and mask of what is more
    assert many - few < 0.1 * pixels


@pytest.mark.usefixtures("nothing_in_memory")
def test_no_room_is_said_in_words(root, monkeypatch):
    def full(self, samples):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.PixelWriter, "write", full)
    with pytest.raises(BenchError, match=r"cannot hold .* GB of images or masks: No space left on device.*TMPDIR"):
        open_dataset(SPEC, root)
    monkeypatch.setattr(scratch, "reserve", lambda *_: full(None, None))
    with pytest.raises(BenchError, match="No space left on device"):
        scratch.scratch_array([5], np.uint8)


# ---- the network's grid ----------------------------------------------------------------------------------------------


def batches(data):
    return list(data.batches(2, CPU, np.array([3, 0, 2])))


@pytest.mark.parametrize("kept", [False, True])
def test_all_sides_share_one_grid_with_the_same_numbers(root, tmp_path, monkeypatch, request, kept):
    side = [7, 1, 4, 0]
    expected = batches(network_data(open_dataset(SPEC, root).subset(side), TASKS["segmentation"], 16))
    request.getfixturevalue("nothing_in_memory")
    if kept:
        monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path / "cache"))
    whole = open_dataset(SPEC, root)
    data = network_data(whole.subset(side), TASKS["segmentation"], 16)
    assert isinstance(data.images, Picked)
    assert len(data.images.whole) == len(whole)
    for one, other in zip(batches(data), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    torch.testing.assert_close(data.images[:1], data.images.whole[7:8])
    files = {path.name[:5]: path for path in (tmp_path / "cache").glob("*.npy")} if kept else {}
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2 * kept
    monkeypatch.setattr(grids, "_filled", lambda *_: pytest.fail("made again"))
    for part in (whole.subset([2, 3]), *([open_dataset(SPEC, root).subset([2, 3])] if kept else [])):
        again = network_data(part, TASKS["segmentation"], 16)
        torch.testing.assert_close(again.images[:], data.images.whole[[2, 3]])
    assert all(path.stat().st_mode & 0o077 == 0 for path in files.values())


@pytest.mark.usefixtures("nothing_in_memory")
def test_other_images_of_the_same_cases_have_a_grid_of_their_own(root):
    side = open_dataset(SPEC, root).subset([1, 2])
    network_data(side, TASKS["segmentation"], 16)
    dark = replace(side, samples=tuple(replace(s, image=s.image * 0) for s in side.samples), drawn={})
    assert network_data(side, TASKS["segmentation"], 16).images[:].any()
    assert not network_data(dark, TASKS["segmentation"], 16).images[:].any()


@pytest.mark.usefixtures("nothing_in_memory")
def test_a_damaged_grid_is_made_again(root, tmp_path, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path / "cache"))
    good = network_data(open_dataset(SPEC, root), TASKS["segmentation"], 16).images[:]
    for path in (tmp_path / "cache").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:100])
    torch.testing.assert_close(network_data(open_dataset(SPEC, root), TASKS["segmentation"], 16).images[:], good)


# ---- a whole trial ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny-lesion", "tiny"])
def test_a_trial_has_the_same_bits(tmp_path, tiny_registry, request, name):
    what = {"datasets": [name], "models": ["timm:test_resnet@scratch"], "seeds": [0]}
    [spec] = plan_suite(load_suite("demo"), load_registry(tiny_registry), **what)

    trained = []

    def run(runs):
        outcome = Session(SessionArguments(tmp_path, runs, "cpu")).run(spec, lambda event: None, wait=False)
        assert outcome.status == "done", outcome.message
        trained.append(Store(runs).record(spec).trained_hash)
        return {path.name: path for path in runs.rglob("*") if path.is_file()}

    small = run(tmp_path / "small")
    folder = request.getfixturevalue("nothing_in_memory")
    large = run(tmp_path / "large")
    for file in ("predictions.npz", "cases.parquet", "history.csv"):
        assert small[file].read_bytes() == large[file].read_bytes(), file
    assert trained[0] == trained[1]
    assert list(folder.iterdir()) == []
    save_predictions(tmp_path / "again.npz", load_predictions(large["predictions.npz"]))
    assert (tmp_path / "again.npz").read_bytes() == small["predictions.npz"].read_bytes()
