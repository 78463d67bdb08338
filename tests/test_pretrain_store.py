"""Stores of images for pre-training: the same weights as without, in constant memory, over several processes."""

import json
import os
import pickle
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.pretraining import store as module
from usfm_bench.pretraining.card import card_path, read_card
from usfm_bench.pretraining.data import gather, load_images
from usfm_bench.pretraining.launch import Launched, check_launch, launched
from usfm_bench.pretraining.loop import pretrain
from usfm_bench.pretraining.sampling import OrganSampler, Reader
from usfm_bench.pretraining.store import StoredImages, in_a_file, open_store, write_store
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.pretraining import Options, WhichImages, build_spec

pytestmark = pytest.mark.usefixtures("one_thread")
WHICH = WhichImages(datasets=("tiny", "tiny-clinical"), image_size=32)
SETTINGS = {
    "model": "usfm_micro_patch16_224",
    "steps": 6,
    "batch_size": 8,
    "masking.patch_size": 16,
    "masking.base_bandwidth": 2,
    "masking.protected": 1,
    "threads": 1,
    "sheet_every": 0,
    "checkpoint_every": 3,
    "device": "cpu",
}
SETS = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def registry(tiny_registry):
    return load_registry(tiny_registry)


@pytest.fixture
def store(tmp_path, registry):
    write_store(gather(WHICH, registry, tmp_path), WHICH, tmp_path / "store")
    return tmp_path / "store"


def call(*words):
    """The command's exit code, and what it says."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, f"{done.output}{done.exception if done.exit_code else ''}"


def test_a_store_holds_what_the_data_sets_give_in_their_order(store, registry, tmp_path):
    direct, stored = load_images(WHICH, registry, tmp_path), open_store(store)
    rows = np.array([5, 0, 0, len(direct.images) - 1])
    np.testing.assert_array_equal(stored.images[rows], direct.images[rows])
    assert len(stored.images) == len(direct.images) == len(stored.organs)
    assert (stored.organs, stored.pixel_hashes, stored.sources) == (direct.organs, direct.pixel_hashes, direct.sources)
    np.testing.assert_array_equal(np.load(store / "images.npy"), direct.images)  # any program reads it
    assert module.read_facts(store).sha256 == module.hashlib.sha256((store / "images.npy").read_bytes()).hexdigest()
    assert [oct(path.stat().st_mode & 0o777) for path in (store, store / "images.npy")] == ["0o700", "0o600"]


def test_the_same_weights_come_from_a_store_and_from_its_data_sets(tmp_path, tiny_registry):
    place = ("--registry", tiny_registry, "--data-root", tmp_path)
    code, said = call("data", "export", "tiny,tiny-lesion", "--pretrain", "--size", 32, "--out", tmp_path / "s", *place)
    assert code == 0, said
    assert "related data sets" in said
    assert call("pretrain", "--store", tmp_path / "s", "--out", tmp_path / "a.safetensors", *SETS)[0] == 0
    sets = [*SETS, "--set", "image_size=32"]
    named = ("--datasets", "tiny,tiny-lesion", "--out", tmp_path / "b.safetensors")
    assert call("pretrain", *named, *sets, *place)[0] == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    ours, theirs = (read_card(tmp_path / f"{name}.safetensors") for name in "ab")
    assert (ours.recipe_hash, ours.seen, ours.sources) == (theirs.recipe_hash, theirs.seen, theirs.sources)
    assert call("pretrain", "--store", tmp_path / "s", "--show-masks", tmp_path / "m.png", *SETS)[0] == 0
    assert (tmp_path / "m.png").exists()


def test_settings_that_the_store_does_not_have_are_named_at_once(store, tmp_path):
    code, said = call(
        "pretrain", "--store", store, "--datasets", "tiny", "--set", "image_size=64", "--out", tmp_path / "w.pth"
    )
    assert code
    assert "has datasets tiny,tiny-clinical, and the settings say tiny" in said
    assert "has image_size 32, and the settings say 64" in said


def changed(key, value):
    def change(folder):
        facts = json.loads((folder / "store.json").read_text())
        (folder / "store.json").write_text(json.dumps(facts | {key: value}))

    return change


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (changed("version", 2), r"store of version 2; 1 is read here"),
        (changed("images", 7), r"do not belong together: store.json says 7 images of 32 px"),
        (changed("images", "seven"), r"store.json is damaged \(images\)"),
        (lambda folder: (folder / "store.json").write_text("{"), r"store.json is damaged \(no JSON\)"),
        (lambda folder: (folder / "store.json").write_bytes(b"\xff"), r"is no store of images .*not UTF-8"),
        (lambda folder: (folder / "store.json").unlink(), r"is no store of images .*data export NAME --pretrain"),
        (lambda folder: (folder / "images.npy").unlink(), r"images.npy: cannot be read"),
        (lambda folder: os.truncate(folder / "images.npy", 1000), r"images.npy: cannot be read"),
        (lambda folder: np.save(folder / "images.npy", np.zeros((4, 4))), r"holds float64 of shape \(4, 4\)"),
        (lambda folder: np.save(folder / "images.npy", np.array([{}])), r"images.npy"),  # a pickle does not run
        (lambda folder: (folder / "cases.parquet").write_bytes(b"PAR1"), r"cases.parquet: cannot be read"),
    ],
)
def test_a_damaged_store_is_named(store, spoil, words):
    spoil(store)
    with pytest.raises(BenchError, match=words):
        open_store(store)


def test_what_is_cut_off_while_it_is_read_is_named(store):
    images = open_store(store).images
    os.truncate(store / "images.npy", 5000)
    with pytest.raises(BenchError, match=r"is cut off in image 60 of"):
        images[np.array([0, 60])]


def test_nothing_is_left_of_a_store_that_does_not_fit(tmp_path, registry, monkeypatch):
    def full(stream, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "reserve", full)
    with pytest.raises(BenchError, match=r"GB of images cannot be written: No space left on device. --out names"):
        write_store(gather(WHICH, registry, tmp_path), WHICH, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_never_written_over_and_options_that_need_one_say_so(store, tmp_path, tiny_registry):
    place = ("--registry", tiny_registry, "--data-root", tmp_path)
    code, said = call("data", "export", "tiny", "--pretrain", "--size", 32, "--out", store, *place)
    assert code
    assert "is there already" in said
    code, said = call("data", "export", "tiny", "--all-images", "--size", 32, "--out", tmp_path / "a.zip", *place)
    assert code
    assert "need --pretrain" in said


def test_images_pickle_as_a_path_and_many_are_given_to_processes_as_a_file(store, registry, tmp_path):
    stored = open_store(store)
    content = pickle.dumps(stored.images)
    assert len(content) < 500
    np.testing.assert_array_equal(pickle.loads(content)[np.arange(3)], stored.images[np.arange(3)])
    direct = load_images(WHICH, registry, tmp_path)
    with in_a_file(direct) as shared:
        assert isinstance(shared.images, StoredImages)
        np.testing.assert_array_equal(shared.images[np.arange(4)], direct.images[:4])
    with in_a_file(stored) as same:
        assert same is stored


def test_reading_ahead_changes_no_image():
    images = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    organs = ["a"] * 30 + ["b"] * 10
    reader, sampler = Reader(images, organs, 3), OrganSampler(organs, 3)
    for start, ahead in [(0, 8), (8, 8), (16, 0), (0, 4), (24, 8), (32, 8)]:  # as foreseen, or somewhere else
        positions = np.arange(start, start + 8)
        read = reader.batch(positions, ahead)
        assert read[:, 0, 0].tolist() == sampler.images(positions).tolist()


def test_a_full_disk_ends_a_training_in_words_and_the_checkpoint_is_kept(store, tmp_path, monkeypatch):
    from usfm_bench.pretraining import loop

    real, written = loop.write_atomic, []

    def full(path, write, **more):
        written.append(path.name)
        if len(written) > 1:
            raise BenchError(f"{path}: cannot be written: No space left on device.")
        real(path, write, **more)

    monkeypatch.setattr(loop, "write_atomic", full)
    code, said = call("pretrain", "--store", store, "--out", tmp_path / "w.pth", *SETS, "--set", "steps=12")
    assert code
    assert "No space left on device. The training ended at step 6. The checkpoint" in said
    monkeypatch.undo()
    again = call("pretrain", "--store", store, "--out", tmp_path / "w.pth", *SETS, "--set", "steps=12", "--resume")
    assert again[0] == 0
    assert call("pretrain", "--store", store, "--out", tmp_path / "v.pth", *SETS, "--set", "steps=12")[0] == 0
    assert_same(tmp_path / "w.pth", tmp_path / "v.pth")


def assert_same(one, other, tolerance=0.0):
    first, second = (torch.load(path, weights_only=True) for path in (one, other))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, atol=tolerance, rtol=0)


def test_torchrun_says_which_process_this_is():
    assert launched({}) is None
    assert launched({"RANK": "1", "WORLD_SIZE": "2"}) is None  # another launcher
    alone = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    assert launched(alone) is None
    found = launched(alone | {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
    assert found == Launched(5, 8, 4)
    assert found.nodes == 2
    odd = alone | {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2"}
    with pytest.raises(BenchError, match="3 processes in all and 2 here: every machine needs as many"):
        check_launch("cpu", 1, odd)


def test_more_gpus_than_torchrun_can_have_are_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    two = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    with pytest.raises(BenchError, match=r"torchrun --nproc-per-node 2: torch sees 1 CUDA device here"):
        check_launch("cuda", 1, two)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def nodes(*words):
    """Exit codes and messages of two machines, each with one process; the words of each."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [*launcher, "--node-rank", str(rank), "-m", "usfm_bench", "pretrain", *map(str, own)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank, own in enumerate(words)
    ]
    ends = [process.communicate(timeout=300) for process in started]
    return [
        SimpleNamespace(code=process.returncode, said=out + err)
        for process, (out, err) in zip(started, ends, strict=True)
    ]


@pytest.mark.slow
def test_two_nodes_learn_what_one_process_does_and_say_what_is_wrong_once(store, registry, tmp_path):
    common = ("--store", store, *SETS)
    settings = {key: value for key, value in SETTINGS.items() if "." not in key and key not in Options.model_fields}
    masking = {key.partition(".")[2]: value for key, value in SETTINGS.items() if "." in key}
    spec = build_spec(settings | {"masking": masking} | WHICH.model_dump(), "test")
    pretrain(spec, load_images(WHICH, registry, tmp_path), Options(out=tmp_path / "one.pth", sheet_every=0))

    first, second = nodes(*[(*common, "--out", tmp_path / "two.pth")] * 2)
    assert first.code == 0, first.said
    assert second.code == 0, second.said
    assert_same(tmp_path / "one.pth", tmp_path / "two.pth", 1e-4)
    assert read_card(tmp_path / "two.pth").environment["devices"] == 2
    assert read_card(tmp_path / "two.pth").recipe_hash == read_card(tmp_path / "one.pth").recipe_hash
    assert "Wrote" in first.said
    assert "Wrote" not in second.said

    content = card_path(tmp_path / "two.pth").read_bytes()
    first, second = nodes(*[(*common, "--resume", "--out", tmp_path / "two.pth")] * 2)
    assert (first.code, second.code) == (0, 0)
    assert "nothing is left to do" in first.said
    assert card_path(tmp_path / "two.pth").read_bytes() == content

    first, second = nodes((*common, "--out", tmp_path / "x.pth"), (*common, "--out", tmp_path / "x.pth", "--seed", 1))
    assert first.code
    assert "process 1: recipe is" in first.said
    assert "error:" not in second.said

    gone = ("--store", tmp_path / "gone", *SETS, "--out", tmp_path / "x.pth")
    first, second = nodes((*common, "--out", tmp_path / "x.pth"), gone)
    assert second.code
    assert "is no store of images" in first.said + second.said
    assert not (tmp_path / "x.pth").exists()

    named = ("--datasets", "phantom", *SETS, "--out", tmp_path / "x.pth")
    first, _ = nodes(named, named)
    assert first.code
    assert "give --store FOLDER" in first.said
