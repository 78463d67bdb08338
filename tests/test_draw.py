"""Draws depend on seeds and case ids alone: not on pixels, names of groups, order of reading, libraries, processors."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import usfm_bench
from usfm_bench.core.settings import content_hash
from usfm_bench.data import groups as groups_module
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.draw import by_lot, deal
from usfm_bench.data.groups import assign_groups, group_keys, pixel_hash
from usfm_bench.data.readers.busi import BusiReader
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.splits import split_folds
from usfm_bench.data.subsample import thin_out
from usfm_bench.specs.dataset import DatasetSpec, Subsample, TrainingSubset, load_registry
from usfm_bench.specs.split import SplitSpec

REGISTRY = load_registry()
HOLDOUT, FIVE_FOLDS = SplitSpec(), SplitSpec(kind="kfold", folds=5)


def entry(**more) -> DatasetSpec:
    facts = {"name": "mine", "version": 1, "title": "mine", "organ": "breast", "layout": "manifest"}
    return DatasetSpec(tasks=("classification",), classes=("a", "b"), positive="b", **facts, **more)


def cases(patients: Sequence[tuple[str, int]]) -> list[Sample]:
    """For each patient, of a class, so many images; all pictures differ."""
    rows = [(label, f"{p:02d}", i) for p, (label, n) in enumerate(patients) for i in range(n)]
    return [
        Sample(Case(f"{label}{p}-{i}", label, patient=p), np.full((3, 4), n, np.uint8), None)
        for n, (label, p, i) in enumerate(rows)
    ]


def draws(samples: Sequence[Sample]) -> dict[str, object]:
    """The case ids of everything that is drawn from these samples."""
    found: dict[str, object] = {}
    for part in (None, TrainingSubset(fraction=0.3), TrainingSubset(prevalence=0.2)):
        data = Dataset(entry(training=part), tuple(samples))
        for split in (HOLDOUT, FIVE_FOLDS):
            folds = split_folds(data, split, task="classification")
            found[f"{split.kind} {part}"] = [
                [sorted(data.samples[i].case.case_id for i in side) for side in fold] for fold in folds
            ]
    kept, _ = thin_out(samples, entry(subsample=Subsample(label="b", prevalence=0.2)))
    found["subsample"] = sorted(s.case.case_id for s in kept)
    return found


patients = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), max_size=12).map(
    lambda more: [("a", 1), ("b", 2)] * 12 + more
)


@settings(max_examples=8, deadline=None)
@given(patients=patients, changed=st.integers(0, 999), level=st.integers(100, 200), order=st.randoms())
def test_one_grey_level_in_one_image_moves_no_case(patients, changed, level, order):
    samples = cases(patients)
    expected = draws(assign_groups(samples, entry()))
    i = changed % len(samples)
    image = samples[i].image.copy()
    image[0, 0] = level
    samples[i] = replace(samples[i], image=image)
    order.shuffle(samples)
    assert draws(assign_groups(samples, entry())) == expected


@settings(max_examples=8, deadline=None)
@given(patients=patients, names=st.randoms())
def test_what_groups_are_called_moves_no_case(patients, names):
    samples = assign_groups(cases(patients), entry())
    called = list(dict.fromkeys(s.group_id for s in samples))
    names.shuffle(called)
    called = {group: f"{i:03d}" for i, group in enumerate(called)}
    assert draws([replace(s, group_id=called[s.group_id]) for s in samples]) == draws(samples)


def test_accents_that_a_file_system_takes_apart_move_no_case():
    one, other = ([replace(s, group_id=f"{i}") for i, s in enumerate(cases([("a", 1)] * 3))] for _ in range(2))
    composed, apart = "\u00e9", "e\u0301"
    for samples, letter in ((one, composed), (other, apart)):
        samples[0] = replace(samples[0], case=replace(samples[0].case, case_id=letter))
    assert group_keys(one) == group_keys(other)


def test_listed_near_duplicates_stay_together_when_a_pixel_changes(tmp_path, monkeypatch):
    pair = [replace(s, case=replace(s.case, patient=None)) for s in cases([("a", 2)])]
    rows = [f"{pixel_hash(s.image)},near,{s.case.case_id}\n" for s in pair]
    (tmp_path / "pairs.csv").write_text("pixel_hash,group,case_id\n" + "".join(rows))
    monkeypatch.setattr(groups_module, "_FOLDER", tmp_path)
    for changed in (pair, [replace(pair[0], image=pair[0].image + 9), pair[1]]):
        assert len({s.group_id for s in assign_groups(changed, entry(groups="pairs.csv"))}) == 1


def test_the_folder_that_the_data_lie_in_moves_no_case(tmp_path):
    first = tmp_path / "first" / "set"
    for label in "ab":
        (first / label).mkdir(parents=True)
        for i in range(20):
            cv2.imwrite(str(first / label / f"{i}.png"), np.full((8, 8), 20 * (label == "b") + i, np.uint8))
    shutil.copytree(first, tmp_path / "second" / "other")
    found = []
    for place in (first, tmp_path / "second" / "other"):
        spec = entry(path=place.name, options={"images": "{label}/{id}.png"}).model_copy(update={"layout": "masks"})
        found.append(draws(open_dataset(spec, place.parent).samples))
    assert found[0] == found[1]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), min_size=30, max_size=80),
    seed=st.integers(0, 9),
    more=st.integers(0, 10**6),
)
def test_a_group_more_moves_few_others(sizes, seed, more):
    strata = [label for label, n in sizes for _ in range(n)]
    keys = [f"{i}" for i, (_, n) in enumerate(sizes) for _ in range(n)]
    tests = []
    for labels, names in ((strata, keys), ([*strata, "a"], [*keys, f"new {more}"])):
        test, *_ = deal(np.arange(len(labels)), labels, names, (0.2, 0.1, 0.7), seed, "test")
        tests.append({names[i] for i in test} - {f"new {more}"})
    # Each of twelve kinds of group can move by one where the tenths fall otherwise; with a drawn order, most would.
    assert len(tests[0] ^ tests[1]) <= 8


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(10, 60), min_size=1, max_size=4),
    shares=st.sampled_from([(0.2, 0.1, 0.7), (0.2,) * 5, (0.5, 0.5)]),
)
def test_single_cases_are_dealt_to_within_one_of_their_share(counts, shares):
    strata = [f"{label}" for label, n in enumerate(counts) for _ in range(n)]
    parts = deal(np.arange(len(strata)), strata, [f"{i}" for i in range(len(strata))], shares, 0, "test")
    assert np.sort(np.concatenate(parts)).tolist() == list(range(len(strata)))
    for part, share in zip(parts, shares, strict=True):
        found = Counter(strata[i] for i in part)
        assert all(abs(found[f"{label}"] - share * n) <= 1.001 for label, n in enumerate(counts))
        assert len(part) == pytest.approx(share * len(strata), abs=2)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=3, max_size=12), others=st.integers(3, 50))
def test_every_part_has_every_class_that_has_a_group_for_each(sizes, others):
    rows = [("rare", f"r{i}") for i, n in enumerate(sizes) for _ in range(n)] + [("b", f"b{i}") for i in range(others)]
    strata, keys = zip(*rows, strict=True)
    for part in deal(np.arange(len(rows)), strata, keys, (0.2, 0.1, 0.7), 0, "test"):
        assert {strata[i] for i in part} == {"rare", "b"}


# ---- golden: the same cases in every version, on every processor -----------------------------------------------------

LOTS = [list("acebd"), list("baedc")]
SMALL = [
    ["a00-0", "a05-0", "a05-1", "a06-0", "a08-0", "a08-1", "a09-0", "a11-0", "a11-1", "b01-0", "b04-0"],
    ["a03-0", "b10-0"],
    ["a02-0", "a02-1", "b07-0"],
]
REAL = {
    "busi": ["09583f44b61f", "391a93854d31"],
    "busi-lesion": ["fdb070726855", "aff9bd3d71a6"],
    "busi-binary": ["09583f44b61f", "391a93854d31"],
    "busi-imbalanced": ["520f388fa61d", "7a7d17379ecc"],
}
PHANTOMS = {
    "phantom": "f5d75360ef0b3db6",
    "phantom-binary": "fa694313a6352d63",
    "phantom-clinical": "5bffafc5c755debf",
    "phantom-unlabelled": "bf6b08b84a077fc6",
    "45 default": "73842178e3e6d63f",
    "45 clinical": "d48d89a13d447bac",
    "256 default": "b17e272c14d67c40",
    "256 clinical": "18594f22ea0944ea",
    "512 default": "491787072deb244f",
    "512 clinical": "6dc2ce58c0a0e904",
    "split": "cafe1f8651eaa742",
}


def test_the_lot_is_a_hash_of_purpose_seed_and_key():
    # In the order of `printf 'kfold\\n0\\na' | sha256sum`, and so on for b to e.
    assert by_lot("abcde", 0, "kfold") == LOTS[0]
    assert by_lot("abcde", 1, "kfold") == LOTS[1]


def test_a_small_split_has_exactly_these_cases():
    samples = assign_groups(cases([("a", 1), ("b", 1), ("a", 2)] * 4), entry())
    [fold] = split_folds(Dataset(entry(), tuple(samples)), HOLDOUT, task="classification")
    assert [sorted(samples[i].case.case_id for i in side) for side in fold] == SMALL


def test_the_splits_of_the_real_data_are_these(busi_root, monkeypatch):
    found, read = {}, BusiReader.load
    pixels = {s.case.case_id: s for s in open_dataset(REGISTRY["busi"], busi_root).samples}
    # The other entries have the same files, which are decoded once.
    monkeypatch.setattr(
        BusiReader,
        "load",
        lambda self, case: replace(pixels[case.case_id], case=case) if case.case_id in pixels else read(self, case),
    )
    for name in REAL:
        data = open_dataset(REGISTRY[name], busi_root)
        folds = [split_folds(data, split, task=data.spec.tasks[-1]) for split in (HOLDOUT, FIVE_FOLDS)]
        sides = [[[sorted(data.samples[i].case.case_id for i in side) for side in fold] for fold in f] for f in folds]
        found[name] = [content_hash(each)[:12] for each in sides]
    assert found == REAL


PROGRAM = """
import hashlib, json, sys
from pathlib import Path
from usfm_bench.specs.split import SplitSpec
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.phantom import PhantomSpec, render
from usfm_bench.specs.dataset import load_registry
from usfm_bench.data.splits import split_dataset, split_hash

found = {}
for name, n in (("phantom", 300), ("phantom-binary", 30), ("phantom-clinical", 60), ("phantom-unlabelled", 30)):
    options = load_registry()[name].options
    spec = PhantomSpec(**{key: value for key, value in options.items() if key in PhantomSpec.model_fields})
    pixels = hashlib.sha256()
    for i in range(n):
        phantom = render(spec, i)
        pixels.update(phantom.image.tobytes() + phantom.mask.tobytes())
    found[name] = pixels.hexdigest()[:16]
for size in (45, 256, 512):
    for probe in ("default", "clinical"):
        pixels = hashlib.sha256()
        for i in range(6):
            pixels.update(render(PhantomSpec(n=6, size=size, probe=probe), i).image.tobytes())
        found[f"{size} {probe}"] = pixels.hexdigest()[:16]
data = open_dataset(load_registry()["phantom"].model_copy(update={"options": {"n": 90, "size": 48}}), Path())
found["split"] = split_hash(data, split_dataset(data, SplitSpec(), 0, task="classification"))[:16]
print(json.dumps(found))
"""


def _numpy_features() -> str:
    """Everything that this NumPy can do without, beyond its baseline, and this processor can."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__[name])


def test_phantoms_and_their_test_cases_are_these_bytes(capsys):
    exec(PROGRAM, {})
    assert json.loads(capsys.readouterr().out) == PHANTOMS


def test_phantoms_and_their_test_cases_are_the_same_bytes_without_vector_instructions():
    wanted = {
        **{"NPY_DISABLE_CPU_FEATURES": _numpy_features(), "OPENBLAS_CORETYPE": "Prescott"},
        **{"OPENCV_CPU_DISABLE": "SSE4.2,AVX,FP16,AVX2,FMA3", "OPENCV_IPP": "disabled"},
    }
    source_root = Path(usfm_bench.__file__).parents[1]
    environment = os.environ | wanted | {"PYTHONPATH": str(source_root)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == PHANTOMS
