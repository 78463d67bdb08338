"""A second start decodes nothing, and a cache that is wrong, stale or impossible changes nothing but the time."""

import json
import os
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data import cache as cache_module
from usfm_bench.data import cache_folder as folder_module
from usfm_bench.data import dataset as dataset_module
from usfm_bench.data.cache_folder import cache_folder
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.readers.manifest import ManifestReader
from usfm_bench.specs.dataset import DatasetSpec, load_registry

SPEC = DatasetSpec(
    name="mine",
    version=1,
    title="mine",
    tasks=("segmentation",),
    organ="breast",
    layout="manifest",
    path="mine/list.csv",
    exclude={"2.png": "for the test"},
)


def save(path: Path, pixels: np.ndarray) -> None:
    """Without compression, so that the size on disk is that of any other pixels."""
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])


def invert(path: Path) -> None:
    save(path, 255 - cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def write_case(folder: Path, number: int, *, mask: bool = True) -> str:
    """An image of its own size and a mask; returns the row of the list."""
    rng = np.random.default_rng(number)
    shape = 7 + number, 11 + number  # 77, 96, 117, ...: masks may end within a byte
    save(folder / f"{number}.png", rng.integers(0, 256, shape, dtype=np.uint8))
    if mask:
        save(folder / f"{number}-mask.png", rng.integers(0, 2, shape, dtype=np.uint8) * 255)
    rest = f"{number}-mask.png,{0.1 * number},0.2" if mask else ",,"
    return f"{number}.png,a,{rest}\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with four cases, one without a mask, and a cache folder of its own."""
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    rows = [write_case(folder, number, mask=number != 3) for number in range(4)]
    rows[0] = rows[0].replace(",0.0,", ",0.5,")
    (folder / "list.csv").write_text("path,label,mask,spacing_y,spacing_x\n" + "".join(rows))
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the ids of the cases that are decoded from their files."""
    ids: list[str] = []
    decode = dataset_module.decode

    def note(reader, cases):
        ids.extend(case.case_id for case in cases)
        return decode(reader, cases)

    monkeypatch.setattr(dataset_module, "decode", note)
    return ids


def cache_file(root: Path) -> Path:
    (path,) = (root.parent / "cache").iterdir()
    return path


def same(one: Dataset, other: Dataset) -> bool:
    """Whether two data sets hold equal samples, bit by bit."""
    for a, b in zip(one.samples, other.samples, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)
        assert (a.mask is None) == (b.mask is None)
        assert (a.case, a.spacing, a.group_id, a.pixel_hash) == (b.case, b.spacing, b.group_id, b.pixel_hash)
    return one.content_hash == other.content_hash


def test_the_second_start_decodes_nothing_and_gives_the_same(root, decoded):
    first = open_dataset(SPEC, root)
    assert sorted(decoded) == ["0.png", "1.png", "2.png", "3.png"]  # with the case that is left out
    decoded.clear()
    second = open_dataset(SPEC, root)
    assert decoded == []
    assert same(first, second)
    assert [s.case.case_id for s in second.samples] == ["0.png", "1.png", "3.png"]
    assert second.samples[0].spacing == (0.5, 0.2)
    assert second.samples[2].mask is None


def test_the_hash_is_that_without_a_cache(root, monkeypatch):
    open_dataset(SPEC, root)
    cached = open_dataset(SPEC, root)
    monkeypatch.setenv("USFM_BENCH_CACHE", "none")
    assert same(cached, open_dataset(SPEC, root))


def test_another_choice_of_cases_shares_the_file(root, decoded):
    open_dataset(SPEC, root)
    decoded.clear()
    whole = open_dataset(SPEC.model_copy(update={"exclude": {}}), root)
    assert decoded == []
    assert len(whole) == 4


def test_pixels_are_mapped_and_read_only(root):
    open_dataset(SPEC, root)
    image = open_dataset(SPEC, root).samples[0].image
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 0


def test_files_are_for_their_owner_alone(root):
    open_dataset(SPEC, root)
    assert stat.S_IMODE(cache_file(root).stat().st_mode) == 0o600
    assert stat.S_IMODE(cache_file(root).parent.stat().st_mode) == 0o700


# ---- stale or wrong --------------------------------------------------------------------------------------------------


def other_pixels(root: Path) -> None:
    """Same size on disk, and the old time put back."""
    path = root / "mine" / "1.png"
    before = path.stat()
    invert(path)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_mask(root: Path) -> None:
    invert(root / "mine" / "1-mask.png")


def other_spacing(root: Path) -> None:
    path = root / "mine" / "list.csv"
    path.write_text(path.read_text().replace(",0.5,", ",0.7,"))


def another_case(root: Path) -> None:
    row = write_case(root / "mine", 4)
    with (root / "mine" / "list.csv").open("a") as stream:
        stream.write(row)


@pytest.mark.parametrize("change", [other_pixels, other_mask, other_spacing, another_case])
def test_any_change_of_the_files_is_seen(root, monkeypatch, change):
    before = open_dataset(SPEC, root)
    change(root)
    after = open_dataset(SPEC, root)
    assert after.content_hash != before.content_hash
    assert same(after, open_dataset(SPEC, root))
    monkeypatch.setenv("USFM_BENCH_CACHE", "none")
    assert same(after, open_dataset(SPEC, root))
    cache_file(root)  # still one file: the stale one was replaced


def test_other_reading_options_are_another_file(root):
    open_dataset(SPEC, root)
    open_dataset(SPEC.model_copy(update={"classes": ("a",)}), root)
    assert len(list((root.parent / "cache").iterdir())) == 2


def test_other_code_of_the_readers_decodes_again(root, decoded, monkeypatch):
    open_dataset(SPEC, root)
    decoded.clear()
    monkeypatch.setattr(cache_module, "_code", lambda layout: ["another version"])
    open_dataset(SPEC, root)
    assert len(decoded) == 4


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"something else",
        lambda content: content[:-400] + bytes(400),
    ],
    ids=["truncated", "empty", "of another kind", "with an end of zeros"],
)
def test_a_damaged_file_is_made_again(root, decoded, spoil):
    before = open_dataset(SPEC, root)
    cache_file(root).write_bytes(spoil(cache_file(root).read_bytes()))
    decoded.clear()
    assert same(before, open_dataset(SPEC, root))
    assert len(decoded) == 4
    decoded.clear()
    assert same(before, open_dataset(SPEC, root))
    assert decoded == []


def test_a_file_that_changes_while_it_is_read_is_not_kept(root, monkeypatch):
    decode = dataset_module.decode

    def slow(reader, cases):
        found = decode(reader, cases)
        other_mask(root)
        return found

    monkeypatch.setattr(dataset_module, "decode", slow)
    open_dataset(SPEC, root)
    assert not (root.parent / "cache").exists()


def test_what_a_reader_notes_while_it_decodes_is_said_at_every_start(root, monkeypatch):
    save(root / "mine" / "1-mask.png", np.zeros((2 * 8, 2 * 12), np.uint8))  # twice its image
    first = open_dataset(SPEC, root)
    assert sum("of another size resampled" in note for note in first.notes) == 1
    monkeypatch.setattr(ManifestReader, "load", lambda *_: pytest.fail("decoded again"))
    assert open_dataset(SPEC, root).notes == first.notes


def test_an_unreadable_file_is_told_every_time(root):
    (root / "mine" / "1.png").write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(DataError, match=r"1\.png: truncated, or not an image"):
            open_dataset(SPEC, root)


def test_an_unreadable_file_that_is_left_out_is_no_fault(root):
    (root / "mine" / "2.png").write_bytes(b"no picture")
    assert [len(open_dataset(SPEC, root)) for _ in range(2)] == [3, 3]


# ---- where it cannot be ----------------------------------------------------------------------------------------------


def test_none_turns_it_off(root, monkeypatch, decoded):
    monkeypatch.setenv("USFM_BENCH_CACHE", "none")
    open_dataset(SPEC, root)
    open_dataset(SPEC, root)
    assert decoded == ["0.png", "1.png", "3.png"] * 2
    assert not (root.parent / "cache").exists()


def test_where_it_cannot_be_written_a_note_says_so_and_the_data_set_opens(root, monkeypatch, capsys):
    (root.parent / "file").write_text("in the way")
    monkeypatch.setenv("USFM_BENCH_CACHE", str(root.parent / "file" / "cache"))
    assert len(open_dataset(SPEC, root)) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("note: no cache of decoded images: ")
    assert err.count("\n") == 1


def test_a_full_disk_leaves_no_part_of_a_file(root, monkeypatch, capsys):
    def full(self, samples):
        self.stream.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.PixelWriter, "write", full)
    assert len(open_dataset(SPEC, root)) == 3
    assert "No space left on device" in capsys.readouterr().err
    assert list((root.parent / "cache").iterdir()) == []


def test_two_may_build_it_at_once(root):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_dataset(SPEC, root), range(4)))
    assert all(same(found[0], each) for each in found)
    assert same(found[0], open_dataset(SPEC, root))
    cache_file(root)


def test_simulated_images_are_not_kept(root):
    spec = load_registry()["phantom"].model_copy(update={"options": {"n": 6, "size": 32}, "classes": ()})
    open_dataset(spec, root)
    assert not (root.parent / "cache").exists()


def test_nothing_is_kept_unless_a_folder_is_named(root, monkeypatch, tmp_path, decoded):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for given in ("", "none"):
        monkeypatch.setenv("USFM_BENCH_CACHE", given)
        assert cache_folder() is None
    monkeypatch.delenv("USFM_BENCH_CACHE")
    before = set(tmp_path.rglob("*"))
    open_dataset(SPEC, root)
    open_dataset(SPEC, root)
    assert len(decoded) == 6
    assert set(tmp_path.rglob("*")) == before
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


# ---- its size --------------------------------------------------------------------------------------------------------


def cached(root: Path) -> list[str]:
    return sorted(path.name.partition("-v1")[0] for path in (root.parent / "cache").glob("*.arrow"))


def open_as(root: Path, name: str, days_ago: int = 0) -> None:
    """As another data set, in another place, as by a process that has ended since."""
    if not (root / name).exists():
        shutil.copytree(root / "mine", root / name)
    before = set((root.parent / "cache").glob("*.arrow"))
    open_dataset(SPEC.model_copy(update={"name": name, "path": f"{name}/list.csv"}), root)
    folder_module._in_use.clear()
    for path in set((root.parent / "cache").glob("*.arrow")) - before:
        os.utime(path, (time.time() - 86400 * days_ago,) * 2)


def limit_to(root: Path, monkeypatch: pytest.MonkeyPatch, files: float) -> None:
    [size] = {path.stat().st_size for path in (root.parent / "cache").glob("*.arrow")}
    monkeypatch.setenv("USFM_BENCH_CACHE_LIMIT", str(files * size / 1e9))


def test_beyond_the_limit_what_was_used_longest_ago_goes_first(root, monkeypatch):
    for name, days_ago in (("old", 3), ("older", 4), ("new", 1)):
        open_as(root, name, days_ago)
    limit_to(root, monkeypatch, 3.2)
    open_as(root, "older")  # is used again, and so is no longer the oldest
    open_as(root, "newest")
    assert cached(root) == ["new", "newest", "older"]


def test_what_this_process_uses_is_never_removed(root, monkeypatch, capsys):
    open_as(root, "mine")
    limit_to(root, monkeypatch, 1.2)
    held = open_dataset(SPEC.model_copy(update={"path": "mine/list.csv"}), root)
    shutil.copytree(root / "mine", root / "other")
    open_dataset(SPEC.model_copy(update={"name": "other", "path": "other/list.csv"}), root)
    assert cached(root) == ["mine"]
    assert "other-v1-" in (said := capsys.readouterr().err)
    assert "USFM_BENCH_CACHE_LIMIT" in said
    assert held.samples[0].image.any()


def test_files_of_others_are_neither_counted_nor_removed(root, monkeypatch):
    folder = root.parent / "cache"
    folder.mkdir()
    for name in ("thesis.arrow", "notes.txt"):
        (folder / name).write_bytes(bytes(10_000))
    open_as(root, "mine")
    limit_to_size = [path.stat().st_size for path in folder.glob("mine-*.arrow")]
    monkeypatch.setenv("USFM_BENCH_CACHE_LIMIT", str(1.5 * limit_to_size[0] / 1e9))
    open_as(root, "other")
    assert cached(root) == ["other", "thesis.arrow"]
    assert len(folder_module.clear(folder)) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "thesis.arrow"]


def test_parts_of_files_whose_writing_was_cut_off_go_with_time(root):
    folder = root.parent / "cache"
    open_as(root, "mine")
    [whole] = folder.glob("*.arrow")
    for name, age in (("a", 7200), ("b", 10)):
        part = folder / f".{whole.name}.{name}"
        part.write_bytes(b"part")
        os.utime(part, (time.time() - age,) * 2)
    open_as(root, "other")
    assert [path.name[-1] for path in folder.glob(".*")] == ["b"]


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_told(root, monkeypatch, given):
    monkeypatch.setenv("USFM_BENCH_CACHE_LIMIT", given)
    with pytest.raises(BenchError, match="USFM_BENCH_CACHE_LIMIT is"):
        folder_module.cache_limit()


def test_data_cache_shows_and_clears(root, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("USFM_BENCH_CACHE")
    call = partial(CliRunner().invoke, app)
    assert "are not kept" in call(["data", "cache"]).stderr
    monkeypatch.setenv("USFM_BENCH_CACHE", str(root.parent / "cache"))
    open_as(root, "mine")
    shown = json.loads(call(["data", "cache", "--format", "json"]).stdout)
    assert shown["limit GB"] == 20
    assert [name.partition("-v1-")[0] for name in shown["files"]] == ["mine"]
    cleared = call(["data", "cache", "--clear"])
    assert (cleared.exit_code, cached(root)) == (0, [])
    assert "removed" in cleared.stdout


def test_what_earlier_versions_kept_in_the_home_folder_is_named(root, monkeypatch, tmp_path):
    open_as(root, "mine")
    former = tmp_path / "home" / ".cache" / "usfm-bench"
    shutil.copytree(root.parent / "cache", former)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("USFM_BENCH_CACHE")
    said = CliRunner().invoke(app, ["data", "cache"]).stderr
    assert f"`usfm-bench data cache --cache {former} --clear`" in said


def test_the_option_is_as_good_as_the_variable(root, monkeypatch, tmp_path, decoded):
    monkeypatch.setenv("USFM_BENCH_CACHE", "")  # put back afterwards: the option sets it
    (tmp_path / "mine.yaml").write_text(
        "mine: {version: 1, title: m, tasks: [segmentation], organ: breast, layout: manifest, path: mine/list.csv}"
    )
    what = ["--data-root", str(root), "--registry", str(tmp_path / "mine.yaml"), "--cache", str(tmp_path / "kept")]
    for _ in range(2):
        assert CliRunner().invoke(app, ["data", "audit", "mine", *what]).exit_code == 0
    assert len(decoded) == 4
    assert len(list((tmp_path / "kept").glob("mine-v1-*.arrow"))) == 1


# ---- readers of others -----------------------------------------------------------------------------------------------


def test_other_code_of_a_reader_from_outside_decodes_again(root, tmp_path, monkeypatch):
    """Its package lies beside ours, and its sources decide as well."""
    package = tmp_path / "outside"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "reader.py").write_text("class Reader: ...\n")
    (package / "helper.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    reader = import_module("outside.reader").Reader
    assert {path.name for path in cache_module._sources(reader)} == {"__init__.py", "reader.py", "helper.py"}
    assert str(package / "helper.py") in map(str, cache_module._sources(reader))


@pytest.mark.slow
def test_busi_opens_from_it_with_the_same_hash(busi_root, tmp_path, monkeypatch, decoded):
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path))
    spec = load_registry()["busi"]
    first = open_dataset(spec, busi_root)
    again = open_dataset(spec, busi_root)
    assert len(decoded) == 780
    assert first.content_hash == again.content_hash


def test_a_name_does_not_leave_the_cache_folder(root):
    spec = SPEC.model_copy(update={"name": "../../out/of@1/2=10%"})
    open_dataset(spec, root)
    [file] = list(root.parent.rglob("*.arrow"))
    assert file.parent == root.parent / "cache"
