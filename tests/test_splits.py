"""No group on two sides, every class on every side, the same cases whatever the trial: groups and splits."""

import re
from dataclasses import replace
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data import groups as groups_module
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.groups import assign_groups, near_duplicate_groups, pixel_hash
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.splits import Split, draw_folds, shared_groups, split_dataset, split_folds, split_hash
from usfm_bench.specs.dataset import DatasetSpec, find_dataset, load_registry
from usfm_bench.specs.split import SplitSpec
from usfm_bench.suites.plan import load_suite, suite_names

REGISTRY = load_registry()
HOLDOUT, FIVE_FOLDS = SplitSpec(), SplitSpec(kind="kfold", folds=5)


def entry(**more) -> DatasetSpec:
    facts = {"name": "mine", "version": 1, "title": "mine", "organ": "breast", "layout": "manifest"}
    return DatasetSpec(tasks=("segmentation", "classification"), **facts, **more)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8)


def sample(name: str, pixels: int | None = None, *, label: str | None = None, patient: str | None = None) -> Sample:
    """A case whose image is that of number `pixels`, or its own."""
    image = picture(sum(name.encode()) * 1000 + len(name) if pixels is None else pixels)
    return Sample(Case(name, label, patient=patient), image, mask=None)


def grouped(*samples: Sample, spec: DatasetSpec | None = None) -> dict[str, str]:
    """Case id -> group id."""
    return {s.case.case_id: s.group_id for s in assign_groups(samples, spec or entry())}


# ---- groups ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetSpec:
    """An entry whose group file lists images 3 and 4 as near-duplicates."""
    rows = [f"{pixel_hash(picture(i))},near\n" for i in (3, 4)]
    (tmp_path / "pairs.csv").write_text("pixel_hash,group\n" + "".join(rows))
    monkeypatch.setattr(groups_module, "_FOLDER", tmp_path)
    return entry(groups="pairs.csv")


def test_cases_that_share_nothing_are_groups_of_their_own():
    assert len(set(grouped(sample("a", 1), sample("b", 2, patient="p"), sample("c", 3, patient="q")).values())) == 3


def test_images_with_equal_pixels_share_a_group():
    found = grouped(sample("a", 1), sample("b", 1), sample("c", 2))
    assert found["a"] == found["b"] != found["c"]


def test_equal_bytes_in_another_shape_are_not_equal_pixels():
    assert pixel_hash(picture(1)) != pixel_hash(picture(1).reshape(5, 6))


def test_patients_equal_pixels_and_listed_pairs_chain_together(pair_list):
    found = grouped(
        sample("a", 1, patient="p"),
        sample("b", 2, patient="p"),  # the patient of a
        sample("c", 2, patient="q"),  # the pixels of b
        sample("d", 3, patient="q"),  # the patient of c
        sample("e", 4),  # listed with d
        sample("f", 4),  # the pixels of e
        sample("g", 5, patient="r"),
        spec=pair_list,
    )
    assert len({found[name] for name in "abcdef"}) == 1
    assert found["g"] != found["a"]


@given(keys=st.lists(st.lists(st.integers(0, 12).map(str), min_size=1, max_size=3), min_size=1, max_size=15))
def test_groups_are_the_connected_components(keys):
    merged = [set(k) for k in keys]
    for _ in keys:  # each round joins what shares a key, until nothing changes
        merged = [set().union(*(other for other in merged if other & mine)) for mine in merged]
    found = groups_module._components(keys)
    for i, j in combinations(range(len(keys)), 2):
        assert (found[i] == found[j]) == (merged[i] == merged[j])


def test_a_group_id_tells_nothing_about_the_patient():
    found = grouped(sample("a", 1, patient="Erika Mustermann"), sample("b", 2, patient="4711"))
    assert all(re.fullmatch(r"[0-9a-f]{12}", group_id) for group_id in found.values())


def test_a_group_keeps_its_id_when_other_cases_come_and_go(pair_list):
    cases = [sample("a", 1), sample("b", 1), sample("c", 3), sample("d", 4)]
    whole = grouped(*cases, sample("g", 7), spec=pair_list)
    for case in cases:
        assert grouped(case, spec=pair_list).items() <= whole.items()


def test_a_group_file_that_is_not_there_is_named():
    with pytest.raises(BenchError, match=r"mine: groups: 'nowhere\.csv' is not in"):
        near_duplicate_groups(entry(groups="nowhere.csv"))


# ---- the splits of the suites ----------------------------------------------------------------------------------------

STAND_IN = {"clinical": "phantom-clinical"}  # the user's own data set, and what its suite offers instead


class Part(NamedTuple):
    """What decides a split of a suite."""

    data: str
    task: str
    spec: SplitSpec
    fold: int


@cache
def decoded(name: str, root: Path) -> Dataset:
    return open_dataset(REGISTRY[name], root)


def opened(name: str, root: Path) -> Dataset:
    return decoded(name.partition("@")[0], root).under(find_dataset(name, REGISTRY))


@cache
def drawn(part: Part, root: Path) -> Split:
    return split_dataset(opened(part.data, root), part.spec, part.fold, task=part.task)


def parts_of_the_suites() -> dict[Part, str]:
    """Each part with the suites that have it."""
    found: dict[Part, str] = {}
    for suite in map(load_suite, suite_names()):
        for part, fold in product(suite.parts, range(suite.split.folds)):
            for name in part.datasets:
                key = Part(STAND_IN.get(name, name), part.task, suite.split, fold)
                found[key] = f"{found.get(key, key.data)} in {suite.name}"
    return found


def folder_of(name: str, request: pytest.FixtureRequest) -> Path:
    spec = find_dataset(name, REGISTRY)
    if spec.synthetic:
        return Path()
    root: Path = request.getfixturevalue("busi_root")
    if not (root / spec.path).exists():
        pytest.skip(f"data set '{name}' is not in {root}")
    return root


@pytest.fixture(params=parts_of_the_suites(), ids=parts_of_the_suites().values())
def part(request: pytest.FixtureRequest) -> Part:
    return request.param


@pytest.fixture
def dataset(part: Part, request: pytest.FixtureRequest) -> Dataset:
    return opened(part.data, folder_of(part.data, request))


@pytest.fixture
def sides(part: Part, request: pytest.FixtureRequest) -> Split:
    return drawn(part, folder_of(part.data, request))


# BrEaST has four normal images, too few to be on every side of five folds.
@pytest.fixture(params=sorted({part.data.partition("@")[0] for part in parts_of_the_suites()} - {"breast-lesions-usg"}))
def any_dataset(request: pytest.FixtureRequest) -> Dataset:
    return opened(request.param, folder_of(request.param, request))


def test_no_suite_has_a_group_on_two_sides(dataset, sides):
    assert shared_groups(dataset.groups, sides) == 0


def test_the_sides_of_a_suite_are_disjoint_and_complete(dataset, sides, part):
    found = np.sort(np.concatenate(sides)).tolist()
    assert len(set(found)) == len(found)
    assert found == list(range(len(dataset))) or "@" in part.data  # a part of the training side
    assert all((np.diff(side) > 0).all() for side in sides)


def test_a_suite_trains_on_seven_tenths_and_tests_on_two(dataset, sides, part):
    train, val, test = (len(side) / len(dataset) for side in sides)
    expected = 0.2 if part.spec.kind == "holdout" else 1 / part.spec.folds
    assert test == pytest.approx(expected, abs=0.03)
    assert val == pytest.approx(0.1, abs=0.03)
    assert train == pytest.approx(0.9 - expected, abs=0.04) or "@" in part.data


def test_every_class_is_on_every_side_in_its_share(dataset, sides, part):
    shares = np.bincount(dataset.labels) / len(dataset)
    for side in sides[1:] if "@" in part.data else sides:
        np.testing.assert_allclose(np.bincount(dataset.labels[side]) / len(side), shares, atol=0.05)


def test_a_split_does_not_depend_on_the_order_of_reading(any_dataset):
    shuffled = any_dataset.subset(np.random.default_rng(0).permutation(len(any_dataset)))
    one, other = any_dataset.spec, shuffled.spec
    parts = ["10%", f"{one.positive}=20%"] if one.positive else ["10%"]
    for part in ("", *parts):
        if part:
            one, other = (find_dataset(f"{s.name}@{part}", {s.name: s}) for s in (any_dataset.spec, shuffled.spec))
        before, after = (
            split_folds(d, FIVE_FOLDS, task="classification") for d in (any_dataset.under(one), shuffled.under(other))
        )
        assert [split_hash(any_dataset, s) for s in before] == [split_hash(shuffled, s) for s in after]


def test_every_case_is_in_the_test_of_exactly_one_of_five_folds(any_dataset):
    folds = [split_dataset(any_dataset, FIVE_FOLDS, fold, task="classification") for fold in range(5)]
    assert np.sort(np.concatenate([fold.test for fold in folds])).tolist() == list(range(len(any_dataset)))
    assert [shared_groups(any_dataset.groups, fold) for fold in folds] == [0] * 5
    for fold in folds:
        assert [len(side) / len(any_dataset) for side in fold] == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


def test_the_split_seed_draws_other_cases(any_dataset):
    splits = [split_dataset(any_dataset, SplitSpec(seed=seed), 0, task="classification") for seed in range(2)]
    assert split_hash(any_dataset, splits[0]) != split_hash(any_dataset, splits[1])


# ---- drawing ---------------------------------------------------------------------------------------------------------

more_groups = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=25)


@settings(max_examples=30, deadline=None)
@given(
    extra=more_groups,
    mixed=st.lists(st.integers(0, 59), max_size=5),
    spec=st.sampled_from([HOLDOUT, FIVE_FOLDS, SplitSpec(seed=7), SplitSpec(kind="kfold", folds=2, seed=3)]),
)
def test_any_drawn_split_is_disjoint_complete_and_keeps_groups_together(extra, mixed, spec):
    # Twenty groups a class, so that tenths can be drawn; `mixed` adds cases of another class to some of them.
    base = [(label, 1) for label in "abc" for _ in range(20)]
    cases = [(label, str(g)) for g, (label, size) in enumerate([*base, *extra]) for _ in range(size)]
    strata, groups = zip(*cases, *(("c", str(g)) for g in mixed), strict=True)
    tested = []
    for fold in range(spec.folds):
        split = draw_folds(strata, groups, spec)[fold]
        assert shared_groups(groups, split) == 0
        assert np.sort(np.concatenate(split)).tolist() == list(range(len(strata)))
        assert all(len(side) for side in split)
        tested += split.test.tolist()
    assert spec.kind == "holdout" or sorted(tested) == list(range(len(strata)))


def labelled(**cases_per_class: list[int]) -> Dataset:
    """A data set with, for each class, patients of so many images each."""
    cases = [
        (label, f"{label}{patient}", i)
        for label, sizes in cases_per_class.items()
        for patient, size in enumerate(sizes)
        for i in range(size)
    ]
    samples = [sample(f"{patient}-{i}", n, label=label, patient=patient) for n, (label, patient, i) in enumerate(cases)]
    return Dataset(entry(), tuple(assign_groups(samples, entry())))


def test_every_class_with_too_few_groups_is_named():
    data = labelled(common=[1] * 40, rare=[9, 9], lone=[30])
    with pytest.raises(DataError) as error:
        split_dataset(data, HOLDOUT, 0, task="classification")
    assert "'mine': class 'rare' has 2 groups (" in str(error.value)
    assert "'mine': class 'lone' has 1 group (" in str(error.value)
    assert "'common'" not in str(error.value)


@pytest.mark.parametrize("spec", [HOLDOUT, FIVE_FOLDS], ids=["holdout", "kfold"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"rare": [1] * 3, "common": [1] * 60},
        {"rare": [8] * 5, "common": [8] * 5},
        {"rare": [2] * 8, "common": [3] * 40},
    ],
    ids=["three images", "five patients a class", "eight patients"],
)
def test_a_class_of_few_groups_is_on_every_side_or_refused(sizes, spec):
    data = labelled(**sizes)
    for seed in range(10):
        try:
            split = split_dataset(data, spec.model_copy(update={"seed": seed}), 0, task="classification")
        except DataError:
            continue
        assert [np.bincount(data.labels[side], minlength=2).min() > 0 for side in split] == [True] * 3


def test_a_small_data_set_has_every_class_on_every_side():
    data = labelled(a=[1] * 4, b=[2] * 3, c=[1] * 12)
    split = split_dataset(data, HOLDOUT, 0, task="classification")
    assert all(set(data.labels[side]) == {0, 1, 2} for side in split)
    assert shared_groups(data.groups, split) == 0
    assert sorted(np.concatenate(split)) == list(range(len(data)))
    again = split_dataset(data, HOLDOUT, 0, task="classification")
    assert all((one == other).all() for one, other in zip(split, again, strict=True))


def test_a_class_in_one_huge_and_two_small_groups_is_dealt_out():
    split = split_dataset(labelled(a=[30, 1, 1], b=[1] * 9), HOLDOUT, 0, task="classification")
    assert min(map(len, split)) >= 2


def test_images_without_labels_are_balanced_by_presence_of_a_lesion():
    lesion = np.ones((6, 5), bool)
    masked = [replace(sample(f"{i:03d}", i), mask=lesion if i < 30 else ~lesion) for i in range(100)]
    data = Dataset(entry(), tuple(assign_groups(masked, entry())))
    test = split_dataset(data, HOLDOUT, 0, task="segmentation").test
    assert sum(data.samples[i].mask.any() for i in test) == 6  # 30 % of 20


def test_a_shared_group_is_counted_once_whichever_sides_it_is_on():
    train, val, test = ["all", "early", "ends"], ["all", "early", "late", "late"], ["all", "late", "ends", "own"]
    rows = np.split(np.arange(11), [3, 7])
    assert shared_groups([*train, *val, *test], Split(*rows)) == 4


def test_the_hash_of_a_split_tells_the_sides_apart():
    data = labelled(a=[1] * 3)
    one, other = (Split(*map(np.array, sides)) for sides in (([0], [1], [2]), ([1], [0], [2])))
    assert split_hash(data, one) != split_hash(data, other)
