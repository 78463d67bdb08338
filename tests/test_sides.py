"""Sides that a data set brings along, lists, published protocols, rare classes by lot and parts of a training side."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.groups import assign_groups
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.sides import assign_sides
from usfm_bench.data.splits import Split, shared_groups, split_dataset, split_folds, twins_of
from usfm_bench.data.subsample import thin_out
from usfm_bench.specs.dataset import DatasetSpec, OwnSplit, Subsample, TrainingSubset, find_dataset, load_registry
from usfm_bench.specs.split import SplitSpec
from usfm_bench.suites.plan import load_suite, suite_names

REGISTRY = load_registry()
HOLDOUT, FIVE_FOLDS = SplitSpec(), SplitSpec(kind="kfold", folds=5)


def entry(**more) -> DatasetSpec:
    facts = {"name": "mine", "version": 1, "title": "mine", "organ": "breast", "layout": "manifest"}
    return DatasetSpec(**facts | {"tasks": ("classification",)} | more)


def cases(sizes: dict[str, list[int]], side=lambda n: None) -> list[Sample]:
    """For each class, patients of so many images; `side` of the n-th case overall."""
    rows = [(c, f"{c}{p}", i) for c, patients in sizes.items() for p, size in enumerate(patients) for i in range(size)]
    samples = [
        Sample(
            Case(f"{patient}-{i}", label, patient=patient, split=side(n)),
            np.full((3, 4 + n // 256), n % 256, np.uint8),
            None,
        )
        for n, (label, patient, i) in enumerate(rows)
    ]
    return assign_groups(samples, entry())


def labels(dataset: Dataset, rows) -> list[str]:
    return [dataset.samples[i].case.label for i in rows]


# ---- sides that the cases prescribe ----------------------------------------------------------------------------------


def test_prescribed_sides_win_over_a_drawn_split_even_where_they_leak():
    sides = ["train", "val", "test"]
    data = Dataset(entry(), tuple(cases({"a": [3] * 4, "b": [3] * 4}, lambda n: sides[n % 3])))
    split = split_dataset(data, SplitSpec(seed=5), 0, task="classification")
    assert [side.tolist() for side in split] == [list(range(i, 24, 3)) for i in range(3)]
    # Each patient has an image on every side: 8 groups are shared, and each of 8 test images has a twin.
    assert shared_groups(data.groups, split) == 8
    assert twins_of(data.groups, split) == (8, 8, 8)
    assert str(twins_of(data.groups, split)) == "8 of 8 test images have a twin in training"


def test_twins_in_training_and_in_validation_are_told_apart():
    found = twins_of(["p", "q", "p", "q", "r"], Split(np.array([0]), np.array([1]), np.array([2, 3, 4])))
    assert found == (1, 2, 3)
    assert str(found) == "1 of 3 test images have a twin in training, 2 in training or validation"


def test_without_a_validation_side_one_is_drawn_from_training_by_groups():
    data = Dataset(entry(), tuple(cases({"a": [2] * 20, "b": [2] * 20}, lambda n: "test" if n % 40 >= 32 else "train")))
    split = split_dataset(data, HOLDOUT, 0, task="classification")
    assert split.test.tolist() == [*range(32, 40), *range(72, 80)]
    assert len(split.val) == 8  # a tenth of all
    assert sorted(labels(data, split.val)) == ["a"] * 4 + ["b"] * 4
    assert shared_groups(data.groups, split) == 0


def test_every_fault_of_prescribed_sides_is_named_with_a_remedy():
    data = Dataset(entry(), tuple(cases({"a": [1] * 9, "b": [1] * 9}, lambda n: "train" if n < 4 else None)))
    with pytest.raises(DataError) as error:
        split_folds(data, FIVE_FOLDS, task="classification")
    lines = str(error.value).split("\n")
    assert all(line.startswith("Dataset 'mine': ") for line in lines)
    assert "no test side" in lines[0]
    assert "for 4 cases, and none for 14" in lines[1]
    assert "5 folds" in lines[2]
    assert "kind: drawn" in lines[3]


def test_an_entry_can_have_the_suite_draw_instead():
    spec = entry(split=OwnSplit(kind="drawn"))
    samples = assign_sides(cases({"a": [1] * 30, "b": [1] * 30}, lambda n: "train"), spec, Path())
    assert len(split_folds(Dataset(spec, tuple(samples)), FIVE_FOLDS, task="classification")) == 5


# ---- lists -----------------------------------------------------------------------------------------------------------


def listed(folder: Path, text: str) -> list:
    (folder / "members.csv").write_text(text, encoding="utf-8")
    spec = entry(split=OwnSplit(kind="file", file="members.csv"))
    return [s.case.split for s in assign_sides(cases({"a": [1] * 3}), spec, folder)]


def test_a_list_decides_who_is_where(tmp_path):
    assert listed(tmp_path, "split,case_id\ntest,a0-0\nTrain,a2-0\nval,a1-0\n") == ["test", "val", "train"]


def test_every_fault_of_a_list_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        listed(tmp_path, "case_id,split\na0-0,train\na0-0,test\na1-0,dev\nA2-0,test\n")
    text = str(error.value)
    assert "line 3: 'a0-0' is listed twice" in text
    assert "line 4: 'dev' is no side" in text
    assert "names 1 cases that are not here: A2-0. Did you mean 'a2-0'?" in text
    assert "does not name 2 cases: a1-0, a2-0" in text


@pytest.mark.parametrize(
    ("text", "fault"),
    [("id,side\n", "no column case_id and no column split"), ("case_id,split\n\xff", "cannot be read")],
)
def test_a_list_that_is_none_is_refused(tmp_path, text, fault):
    (tmp_path / "members.csv").write_bytes(text.encode("latin-1"))
    spec = entry(split=OwnSplit(kind="file", file="members.csv"))
    with pytest.raises(DataError, match=fault):
        assign_sides(cases({"a": [1]}), spec, tmp_path)


def test_a_list_outside_the_data_set_or_missing_is_refused(tmp_path):
    for name, fault in (("../members.csv", "leaves"), ("none.csv", "cannot be read")):
        with pytest.raises(DataError, match=fault):
            assign_sides(cases({"a": [1]}), entry(split=OwnSplit(kind="file", file=name)), tmp_path)


def test_a_list_may_name_cases_that_are_left_out(tmp_path):
    (tmp_path / "members.csv").write_text("case_id,split\na0-0,test\na1-0,train\na2-0,val\n")
    spec = entry(split=OwnSplit(kind="file", file="members.csv"))
    kept = cases({"a": [1] * 3})[:2]
    assert [s.case.split for s in assign_sides(kept, spec, tmp_path, {"a0-0", "a1-0", "a2-0"})] == ["test", "train"]


# ---- draws as published protocols make them --------------------------------------------------------------------------


def test_a_protocol_has_its_counts_and_is_stratified_whatever_the_order():
    spec = entry(split=OwnSplit(kind="random", sides=(42, 6, 12), seed=3))
    samples = cases({"a": [2] * 20, "b": [2] * 10})
    sides = {s.case.case_id: s.case.split for s in assign_sides(samples, spec, Path())}
    assert [list(sides.values()).count(side) for side in Split._fields] == [42, 6, 12]
    assert sum(side == "test" and name.startswith("a") for name, side in sides.items()) == 8
    again = {s.case.case_id: s.case.split for s in assign_sides(samples[::-1], spec, Path())}
    assert again == sides


def test_proportions_are_those_of_the_cases_there():
    spec = entry(split=OwnSplit(kind="random", sides=(7, 1, 2)))
    sides = [s.case.split for s in assign_sides(cases({"a": [1] * 30, "b": [1] * 30}), spec, Path())]
    assert [sides.count(side) for side in Split._fields] == [42, 6, 12]


@pytest.mark.parametrize("sides", [(0, 1, 1), (1, 1, 0), (3, -1, 1)])
def test_sides_that_cannot_be_are_refused(sides):
    with pytest.raises(ValueError, match="training and test need 1 at least"):
        OwnSplit(kind="random", sides=sides)


def test_a_class_too_small_to_draw_is_a_fault_in_words():
    spec = entry(split=OwnSplit(kind="random", sides=(7, 1, 2)))
    with pytest.raises(DataError, match=r"Dataset 'mine': split\.sides \[7, 1, 2\]: .*class"):
        assign_sides(cases({"a": [1] * 30, "b": [1]}), spec, Path())


COUNTS = {
    "like-unius": ([546, 78, 156], 45),
    "like-medmnist": ([546, 78, 156], 46),
    "like-medsegbench": ([452, 64, 131], 38),
    "like-openus": ([546, 117, 117], 33),
    "like-ukan": ([452, 65, 130], 31),
    "like-ukan-6142": ([452, 65, 130], 38),
    "like-ukan-1187": ([453, 64, 130], 42),
}


@pytest.mark.slow
def test_published_protocols_leak_as_stated(busi_root):
    method = Path(__file__).parents[1].joinpath("docs", "splits.md").read_text(encoding="utf-8")
    assert COUNTS.keys() == {name for name in REGISTRY if name.startswith("like-")}
    for name, (counts, leaked) in COUNTS.items():
        data = open_dataset(REGISTRY[name], busi_root)
        split = split_dataset(data, HOLDOUT, 0, task=data.spec.tasks[-1])
        found = twins_of(data.groups, split)
        assert ([len(side) for side in split], found.train) == (counts, leaked), name
        told = [
            f"`{name}`",
            " / ".join(map(str, counts)),
            f"{leaked} ({leaked / found.test:.0%})",
            str(found.elsewhere),
        ]
        assert " | ".join(told) in " ".join(method.split())


def test_no_suite_uses_a_split_that_may_leak():
    names = [d for suite in map(load_suite, suite_names()) for part in suite.parts for d in part.datasets]
    assert [n for n in names if n != "clinical" and find_dataset(n, REGISTRY).split is not None] == []


# ---- a class made rare -----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    rare=st.lists(st.integers(1, 3), min_size=4, max_size=30),
    prevalence=st.floats(0.02, 0.3),
    seed=st.integers(0, 5),
)
def test_whole_groups_are_left_out_until_the_class_is_as_rare_as_asked(rare, prevalence, seed):
    samples = cases({"common": [1] * 60, "rare": rare})
    spec = entry(subsample=Subsample(label="rare", prevalence=prevalence, seed=seed))
    wanted = 60 * prevalence / (1 - prevalence)
    if wanted > sum(rare):
        with pytest.raises(DataError, match=r"smaller `subsample\.prevalence`"):
            thin_out(samples, spec)
        return
    kept, notes = thin_out(samples, spec)
    left = [s for s in kept if s.case.label == "rare"]
    assert len(kept) - len(left) == 60
    assert abs(len(left) - wanted) <= 1.5 or len({s.group_id for s in left}) == 1
    gone = {s.group_id for s in samples} - {s.group_id for s in kept}
    assert not gone & {s.group_id for s in left}
    assert sum(s.group_id in gone for s in samples) == len(samples) - len(kept)
    assert str(len(samples) - len(kept)) in notes[0]
    again, _ = thin_out(samples[::-1], spec)
    assert {s.case.case_id for s in again} == {s.case.case_id for s in kept}


def test_the_share_that_is_there_can_be_asked_for_and_the_share_reached_is_said():
    samples = cases({"common": [1] * 70, "rare": [1] * 30})
    kept, _ = thin_out(samples, entry(subsample=Subsample(label="rare", prevalence=0.3)))
    assert len(kept) == 100
    # Of groups of 25 and 5 times 1, four can be had: 4 of 74 are 5.4 %.
    samples = cases({"common": [1] * 70, "rare": [25, 1, 1, 1, 1, 1]})
    for seed in range(6):
        kept, [note] = thin_out(samples, entry(subsample=Subsample(label="rare", prevalence=0.05, seed=seed)))
        assert len(kept) == 74
        assert "5.4 % of all are left, 5.0 % asked for" in note


def test_classes_of_the_disk_become_those_of_the_entry():
    spec = REGISTRY["phantom-binary"].model_copy(update={"options": {"seed": 3, "n": 60}})
    whole = open_dataset(spec.model_copy(update={"relabel": {}, "classes": (), "positive": None}), Path())
    merged = open_dataset(spec, Path())
    assert merged.classes == ("not malignant", "malignant")
    for before, after in zip(whole.samples, merged.samples, strict=True):
        expected = "malignant" if before.case.label == "malignant" else "not malignant"
        assert (after.case.label, after.case.stratum) == (expected, before.case.label)
    assert merged.content_hash != whole.content_hash
    # Split by what is on the disk: merging classes moves no case to another side.
    one, other = (split_dataset(data, HOLDOUT, 0, task="classification") for data in (whole, merged))
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


# ---- parts of a training side ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thyroid() -> Dataset:
    spec = entry(name="thyroid", classes=("no", "yes"), positive="yes")
    return Dataset(spec, tuple(cases({"no": [1, 2, 3] * 25, "yes": [1, 2] * 30})))


def of(dataset: Dataset, part: str, split: SplitSpec = HOLDOUT) -> list[Split]:
    spec = find_dataset(f"thyroid@{part}", {"thyroid": dataset.spec})
    return split_folds(dataset.under(spec), split, task="classification")


@pytest.mark.parametrize("split", [HOLDOUT, FIVE_FOLDS], ids=["holdout", "kfold"])
def test_fractions_lie_within_one_another_by_whole_groups_and_test_stays(thyroid, split):
    whole = split_folds(thyroid, split, task="classification")
    smaller: list[set[int]] = [set() for _ in whole]
    for percent in (1, 5, 10, 20, 50, 100):
        for fold, (all_of_it, found) in enumerate(zip(whole, of(thyroid, f"{percent}%", split), strict=True)):
            used = set(found.train.tolist())
            assert smaller[fold] <= used <= set(all_of_it.train.tolist())
            assert [side.tolist() for side in found[1:]] == [side.tolist() for side in all_of_it[1:]]
            assert len(used) == pytest.approx(percent / 100 * len(all_of_it.train), abs=4)
            assert set(labels(thyroid, used)) == {"no", "yes"}
            ids = {thyroid.groups[i] for i in used}
            assert {i for i in all_of_it.train.tolist() if thyroid.groups[i] in ids} == used
            smaller[fold] = used
        assert percent < 100 or [set(s.train.tolist()) for s in whole] == smaller


def test_prevalences_have_one_number_of_images_and_one_test_set(thyroid):
    whole = split_folds(thyroid, FIVE_FOLDS, task="classification")
    positives: list[set[int]] = [set() for _ in whole]
    for percent in (5, 10, 20, 30, 50):
        for fold, (all_of_it, found) in enumerate(zip(whole, of(thyroid, f"yes={percent}%", FIVE_FOLDS), strict=True)):
            n_yes, n_no = (labels(thyroid, all_of_it.train).count(c) for c in ("yes", "no"))
            n = int(min(n_yes / 0.5, n_no / 0.95))
            yes = {i for i in found.train.tolist() if thyroid.samples[i].case.label == "yes"}
            assert len(found.train) == n
            assert len(yes) == round(percent / 100 * n)
            assert positives[fold] <= yes
            assert (found.test == all_of_it.test).all()
            positives[fold] = yes


@pytest.mark.parametrize("part", ["10%", "yes=10%"])
def test_each_seed_draws_a_lot_of_its_own_and_lots_of_one_seed_lie_within_one_another(thyroid, part):
    def drawn(name, seed):
        spec = find_dataset(f"thyroid@{name}", {"thyroid": thyroid.spec})
        [found] = split_folds(thyroid.under(spec), HOLDOUT, task="classification", seed=seed)
        return found

    lots = [drawn(part, seed) for seed in (0, 1, 2, 0)]
    assert lots[0].train.tolist() == lots[3].train.tolist()
    assert len({tuple(lot.train.tolist()) for lot in lots}) == 3
    assert len({tuple(lot.test.tolist()) for lot in lots}) == 1
    larger = drawn(part.replace("10", "30"), 1).train
    positive = {i for i in lots[1].train.tolist() if thyroid.samples[i].case.label == "yes"}
    assert positive <= set(larger.tolist())


def test_trials_of_versions_before_keep_the_one_lot_of_their_split(thyroid):
    old = thyroid.spec.model_copy(update={"training": TrainingSubset.model_validate({"fraction": 0.1})})
    of_seeds = [split_folds(thyroid.under(old), HOLDOUT, task="classification", seed=s)[0] for s in (0, 1, None)]
    lots = {tuple(split.train.tolist()) for split in of_seeds}
    assert len(lots) == 1
    assert old.model_dump()["training"] == {"fraction": 0.1, "prevalence": None}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("thyroid@10", r"Unknown part '10' of dataset 'thyroid'. Such names are thyroid@10% or thyroid@yes=10%"),
        ("thyroid@maybe=10%", "Unknown part 'maybe=10%'"),
        ("thyroid@yes=60%", "at most 0.5"),
        ("thyroid@0%", "above 0"),
        ("tyroid@10%", "Did you mean 'thyroid'"),
        ("thyroid@", "Unknown part ''"),
    ],
)
def test_a_part_that_does_not_exist_is_refused(thyroid, name, fault):
    with pytest.raises(BenchError, match=fault):
        find_dataset(name, {"thyroid": thyroid.spec})


def test_a_part_has_a_settled_name_and_is_a_setting_of_its_own(thyroid):
    spec = find_dataset("thyroid@yes=5.0%", {"thyroid": thyroid.spec})
    assert spec.name == "thyroid@yes=5%"
    assert spec.model_dump()["training"] == {"fraction": None, "prevalence": 0.05, "lot": "trial"}
    assert "training" not in thyroid.spec.model_dump()
    with pytest.raises(BenchError, match="names no `positive` class"):
        find_dataset("busi@malignant=10%", REGISTRY)


def test_cases_without_a_class_cannot_be_classified(thyroid):
    samples = [replace(s, case=replace(s.case, label=None)) for s in thyroid.samples[:3]]
    data = Dataset(thyroid.spec, (*samples, *thyroid.samples[3:]))
    with pytest.raises(DataError, match="3 cases have no class"):
        split_dataset(data, HOLDOUT, 0, task="classification")
