"""Duplicates, contradictions, leaks and shortcuts are found where they were put, and not where they were not."""

import json
import re
import sys
from dataclasses import replace
from html import escape
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usfm_bench.cli import app as cli
from usfm_bench.data.audit.audit import audit_images, check_split, read_images
from usfm_bench.data.audit.burned_in import MIN_PIXELS, stroke_pixels
from usfm_bench.data.audit.findings import Audit, CasePair, SplitCheck
from usfm_bench.data.audit.near_duplicates import MAX_BITS, MIN_CORRELATION, components, fingerprints, near_pairs
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.phantom import PhantomSpec, draw_plan, render
from usfm_bench.data.splits import Split
from usfm_bench.reporting.audit import audit_json, audit_sheet, audit_text
from usfm_bench.specs.dataset import DatasetSpec, load_registry
from usfm_bench.specs.split import SplitSpec

REGISTRY = load_registry()


def breasts(n: int) -> list[np.ndarray]:
    """Simulated images that are unlike each other: different texture at every scale."""
    rng = np.random.default_rng(0)
    noise = [cv2.resize(rng.normal(size=(9, 11)).astype(np.float32), (150, 110)) for _ in range(n)]
    return [np.clip(110 + 40 * field + rng.normal(0, 8, field.shape), 0, 255).astype(np.uint8) for field in noise]


IMAGES = breasts(24)
LESION = np.zeros(IMAGES[0].shape, np.uint8)
LESION[40:60, 30:70] = 255


def jpeg(image: np.ndarray, quality: int = 40) -> np.ndarray:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)


COPIES = {
    "smaller": lambda image: cv2.resize(image, (60, 44), interpolation=cv2.INTER_AREA),
    "larger": lambda image: cv2.resize(image, (411, 302), interpolation=cv2.INTER_CUBIC),
    "JPEG": jpeg,
    "shifted by 1 px": lambda image: np.roll(image, 1, axis=1),
    "cropped by 2 px": lambda image: image[2:-2, 2:-2],
    "brighter, with less contrast": lambda image: (image * 0.7 + 40).astype(np.uint8),
    "mirrored": lambda image: image[:, ::-1],
    "mirrored, smaller": lambda image: cv2.resize(image[:, ::-1], (60, 44), interpolation=cv2.INTER_AREA),
    "with text": lambda image: cv2.putText(image.copy(), "LT", (5, 100), 0, 0.4, 220, 1),
}


# ---- near-duplicates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_copy_is_found_and_nothing_else(change):
    (pair,) = near_pairs(fingerprints([*IMAGES, np.ascontiguousarray(change(IMAGES[5]))]))
    assert pair[:2] == (5, len(IMAGES))
    assert pair.correlation >= MIN_CORRELATION or (pair.bits <= MAX_BITS and pair.correlation >= 0.8)


def test_only_a_mirrored_copy_is_called_so():
    found = {
        name: near_pairs(fingerprints([IMAGES[5], np.ascontiguousarray(change(IMAGES[5]))]))[0].mirrored
        for name, change in COPIES.items()
    }
    assert found == {name: name.startswith("mirrored") for name in COPIES}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_copy_in_another_set_is_found(change):
    other = [*breasts(30)[24:], np.ascontiguousarray(change(IMAGES[7]))]
    (pair,) = near_pairs(fingerprints(IMAGES), fingerprints(other))
    assert pair[:2] == (7, 6)


def test_the_same_positions_of_two_sets_are_compared_too():
    prints = fingerprints(IMAGES)
    assert [p[:2] for p in near_pairs(prints, prints)] == [(i, i) for i in range(len(IMAGES))]


def test_more_images_than_are_compared_at_once(monkeypatch):
    copies = [COPIES["smaller"](image) for image in IMAGES]
    expected = near_pairs(fingerprints([*IMAGES, *copies]))
    monkeypatch.setattr("usfm_bench.data.audit.near_duplicates._BLOCK", 5)
    assert near_pairs(fingerprints([*IMAGES, *copies])) == expected
    assert [p[:2] for p in expected] == [(i, i + len(IMAGES)) for i in range(len(IMAGES))]


def test_the_two_measures_are_those_of_numpy():
    one, other = IMAGES[3], jpeg(IMAGES[3], 8)
    small = [cv2.resize(i, (64, 64), interpolation=cv2.INTER_AREA).ravel().astype(float) for i in (one, other)]
    (pair,) = near_pairs(fingerprints([one, other]))
    assert pair.correlation == pytest.approx(np.corrcoef(*small)[0, 1], abs=1e-4)
    low = [
        cv2.dct(cv2.resize(i, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))[:8, :8].ravel()[1:]
        for i in (one, other)
    ]
    assert pair.bits == sum((low[0] > np.median(low[0])) != (low[1] > np.median(low[1])))


def test_one_grey_level_is_like_no_picture_but_itself():
    flat = [np.full((50, 40), level, np.uint8) for level in (0, 0, 77)]
    found = near_pairs(fingerprints([*flat, *IMAGES]))
    assert [(p.first, p.second, p.correlation) for p in found] == [(0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0)]


def striped(correlation: float) -> list[np.ndarray]:
    """Two pictures of one layout with unequal stripes, which the hash cannot see: a period is one of its pixels."""
    layout = cv2.resize(np.random.default_rng(1).normal(size=(6, 6)), (64, 64), interpolation=cv2.INTER_CUBIC)
    layout = 25 * (layout - layout.mean()) / layout.std()
    stripes = 25 * np.sqrt(1 / correlation - 1) * np.tile([1.0, -1.0], (64, 32))
    return [np.clip(128 + layout + field, 0, 255).astype(np.uint8) for field in (stripes, stripes.T)]


@pytest.mark.parametrize(("correlation", "found"), [(0.4, 0), (0.62, 0), (0.75, 0), (0.85, 1), (0.95, 1)])
def test_a_hash_alone_makes_no_duplicates(correlation, found):
    one, other = striped(correlation)
    prints = fingerprints([one, other])
    assert np.bitwise_count(prints.hashes()[0] ^ prints.hashes()[1]) <= MAX_BITS
    assert (prints.thumbnails[0] * prints.thumbnails[1]).sum() == pytest.approx(correlation, abs=0.03)
    assert len(near_pairs(prints)) == len(near_pairs(fingerprints([one]), fingerprints([other]))) == found


def test_images_that_share_a_hash_alone_are_no_leak_and_no_contradiction(tmp_path):
    one, other = (cv2.resize(image, (192, 192), interpolation=cv2.INTER_NEAREST) for image in striped(0.62))
    cases = plain() | {"one": (one, "normal", "p98"), "other": (other, "tumour", "p99")}
    found = audited(tmp_path, cases)
    assert (found.pairs, found.contradictions, found.leaks) == ((), [], [])


def test_mirrored_fingerprints_are_those_of_the_mirrored_image():
    ours, theirs = fingerprints(IMAGES).mirrored(), fingerprints(np.ascontiguousarray(i[:, ::-1]) for i in IMAGES)
    np.testing.assert_allclose(ours.thumbnails, theirs.thumbnails, atol=1e-3)
    assert np.bitwise_count(ours.hashes() ^ theirs.hashes()).max() <= 1
    assert np.bitwise_count(fingerprints(IMAGES).hashes() ^ theirs.hashes()).min() > MAX_BITS


def test_no_image_at_all():
    assert near_pairs(fingerprints([])) == []
    assert components(3, []) == [0, 1, 2]


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(8)))
def test_the_order_of_the_images_does_not_matter(order):
    images = [*IMAGES[:5], jpeg(IMAGES[0]), COPIES["mirrored"](IMAGES[1]).copy(), COPIES["smaller"](IMAGES[0])]
    found = near_pairs(fingerprints([images[i] for i in order]))
    assert {frozenset((order[p.first], order[p.second])) for p in found} == {
        frozenset(pair) for pair in ((0, 5), (0, 7), (5, 7), (1, 6))
    }


# ---- drawn-in text ---------------------------------------------------------------------------------------------------


def caliper(image: np.ndarray) -> np.ndarray:
    for x, y in ((30, 50), (90, 60)):
        cv2.drawMarker(image, (x, y), 235, cv2.MARKER_CROSS, 22, 2)
    return image


def test_letters_and_calipers_are_seen():
    for image in IMAGES:
        dark = (image * 0.6).astype(np.uint8)
        assert stroke_pixels(dark) < MIN_PIXELS
        assert stroke_pixels(caliper(dark.copy())) >= MIN_PIXELS
        assert stroke_pixels(cv2.putText(dark.copy(), "RT AXILLA", (10, 100), 0, 0.6, 230, 2)) >= MIN_PIXELS


def test_tissue_borders_are_not():
    image = np.full((100, 120), 60, np.uint8)
    image[30:34] = 255  # a bright layer across
    image[:, 70:] = 255  # a bright region
    assert stroke_pixels(image) == 0


def test_stroke_pixels_by_hand():
    image = np.zeros((40, 40), np.uint8)
    image[10:22, 20:23] = 200  # 12 rows of 3 px: 12 - 5 rows have all of their 6 neighbours
    assert stroke_pixels(image) == (12 - 5) * 3


def test_simulated_images_have_hardly_any():
    phantom = PhantomSpec(seed=0, n=60, size=128)
    flagged = [stroke_pixels(render(phantom, i).image) >= MIN_PIXELS for i in range(len(draw_plan(phantom)))]
    assert sum(flagged) <= 2


# ---- a data set ------------------------------------------------------------------------------------------------------


def write(root: Path, name: str, cases: dict[str, tuple[np.ndarray, str, str]], **more) -> DatasetSpec:
    """A listed data set of (image, label, patient) by name, all with the same lesion but resized to their image."""
    folder = root / name
    folder.mkdir()
    rows = ["path,label,patient,mask\n"]
    for case_id, (image, label, patient) in cases.items():
        cv2.imwrite(str(folder / f"{case_id}.png"), image)
        mask = cv2.resize(LESION, image.shape[::-1], interpolation=cv2.INTER_NEAREST) * (label != "normal")
        cv2.imwrite(str(folder / f"{case_id}-mask.png"), mask)
        rows.append(f"{case_id}.png,{label},{patient},{case_id}-mask.png\n")
    (folder / "list.csv").write_text("".join(rows))
    facts = {"version": 1, "title": name, "organ": "breast", "layout": "manifest", "path": f"{name}/list.csv"}
    return DatasetSpec(name=name, tasks=("segmentation", "classification"), **facts, **more)


def plain() -> dict[str, tuple[np.ndarray, str, str]]:
    """Twenty-four images of two classes, each of its own patient."""
    return {f"c{i:02d}": (image, ("normal", "tumour")[i % 2], f"p{i}") for i, image in enumerate(IMAGES)}


def audited(root: Path, cases: dict, **more) -> Audit:
    return audit_images(read_images(write(root, "mine", cases, **more), root))


def ids(pairs) -> set[str]:
    return {f"{p.first} {'=' if p.exact else '~'} {p.second}".replace(".png", "") for p in pairs}


def test_a_clean_data_set_has_no_finding(tmp_path):
    found = audited(tmp_path, plain())
    assert (found.pairs, found.near_groups, found.leaks, found.burned_in) == ((), (), [], ())
    assert [(s.shared_groups, s.parted_pairs) for s in found.splits] == [(0, 0), (0, 0)]
    assert audit_text(found).endswith("No leak.")


def test_a_near_duplicate_of_another_patient_is_a_leak(tmp_path):
    found = audited(tmp_path, plain() | {"copy": (jpeg(IMAGES[4]), "normal", "p99")})
    assert ids(found.loose) == {"c04 ~ copy"}
    assert found.leaks == ["1 pairs of duplicates are not in one group: a split can part them"]
    assert "c04.png ~ copy.png (correlation 0.99" in audit_text(found)


def test_a_near_duplicate_of_the_same_patient_is_none(tmp_path):
    found = audited(tmp_path, plain() | {"copy": (jpeg(IMAGES[4]), "normal", "p4")})
    assert ids(found.pairs) == {"c04 ~ copy"}
    assert found.pairs[0].grouped
    assert (found.loose, found.leaks) == ([], [])


def test_equal_pixels_are_always_in_one_group(tmp_path):
    found = audited(tmp_path, plain() | {"copy": (IMAGES[4], "normal", "p99")})
    assert ids(found.pairs) == {"c04 = copy"}
    assert found.pairs[0].grouped
    assert found.leaks == []


def test_contradictory_labels_are_told_and_said_to_be_handled_when_left_out(tmp_path):
    cases = plain() | {"twin": (IMAGES[4], "tumour", "p99"), "near": (jpeg(IMAGES[6]), "tumour", "p6")}
    found = audited(tmp_path, cases, exclude={"twin.png": "for the test", "c04.png": "for the test"})
    assert ids(found.contradictions) == {"c04 = twin", "c06 ~ near"}
    assert {p.left_out for p in found.contradictions if p.exact} == {True}
    assert "c04.png = twin.png (labels normal and tumour, left out by the entry)" in audit_text(found)
    assert found.left_out == {"c04.png": "for the test", "twin.png": "for the test"}
    assert found.leaks == []


def test_groups_are_chains_of_pairs(tmp_path):
    copies = {"x": (jpeg(IMAGES[0]), "normal", ""), "y": (COPIES["smaller"](IMAGES[0]), "normal", "")}
    cases = {k: (image, label, "") for k, (image, label, _) in plain().items()} | copies
    found = audited(tmp_path, cases)
    assert [sorted(group) for group in found.near_groups] == [["c00.png", "x.png", "y.png"]]


def test_duplicates_on_two_sides_are_counted(tmp_path):
    copies = {f"copy{i}": (jpeg(IMAGES[i]), "normal", f"q{i}") for i in range(24)}
    assert all(s.parted_pairs for s in audited(tmp_path, plain() | copies).splits)
    # With every pair in one group, the same check finds nothing.
    cases = plain() | {name: (image, "normal", f"p{name[4:]}") for name, (image, _, _) in copies.items()}
    (tmp_path / "mine").rename(tmp_path / "before")
    assert {s.parted_pairs for s in audited(tmp_path, cases).splits} == {0}


def test_a_group_that_a_split_parts_is_a_leak(tmp_path, monkeypatch):
    images = read_images(write(tmp_path, "mine", plain()), tmp_path)
    sides = Split(*(np.arange(start, 24, 3) for start in range(3)))
    monkeypatch.setattr("usfm_bench.data.audit.audit.split_folds", lambda *_, **__: [sides])
    samples = [replace(s, group_id="one" if i < 4 else s.group_id) for i, s in enumerate(images.dataset.samples)]
    broken = replace(images, dataset=Dataset(images.spec, tuple(samples)))
    assert [s.shared_groups for s in audit_images(broken).splits] == [1, 1]
    assert audit_images(broken).leaks[0] == "1 groups on two sides of the holdout of split seed 0"


def test_parted_pairs_by_hand(tmp_path, monkeypatch):
    dataset = read_images(write(tmp_path, "mine", plain()), tmp_path).dataset
    sides = Split(*(np.arange(start, 24, 3) for start in range(3)))  # c00 trains, c01 validates, c02 tests, ...
    monkeypatch.setattr("usfm_bench.data.audit.audit.split_folds", lambda *_, **__: [sides, sides])
    same = CasePair("c00.png", "c03.png", ("a", "a"), False, 1.0, 0, False, False, False)
    pairs = [same, replace(same, second="c01.png"), replace(same, first="c01.png", second="c02.png")]
    left_out = replace(same, second="c02.png", left_out=True)
    assert check_split(dataset, [*pairs, left_out], "twice", SplitSpec()) == SplitCheck(
        "twice", 0, 2 * 2, twins=0, tested=2 * 8
    )


def test_too_little_to_split_is_said(tmp_path):
    found = audited(tmp_path, dict(list(plain().items())[:4]))
    assert {s.shared_groups for s in found.splits} == {None}
    assert "cannot be drawn: Dataset 'mine': class 'normal' has 2 groups" in audit_text(found)


def test_classes_and_lesions_are_counted(tmp_path):
    found = audited(tmp_path, plain() | {"text": (caliper(IMAGES[2] // 2), "tumour", "p1")}, exclude={"c00.png": "x"})
    assert [(c.label, c.images, c.groups, c.burned_in) for c in found.classes] == [
        ("normal", 11, 11, 0),
        ("tumour", 13, 12, 1),
    ]
    assert found.burned_in == ("text.png",)
    lesions = found.lesions
    assert (lesions.masks, lesions.empty, lesions.full, lesions.at_border) == (24, 11, 0, 0)
    assert set(lesions.area_px) == {20 * 40}
    assert lesions.area_share[0] == pytest.approx(20 * 40 / (110 * 150))
    assert lesions.area_mm2 == ()


def test_areas_in_mm2_and_masks_that_are_full_or_cut(tmp_path):
    folder = tmp_path / "mine"
    spec = write(tmp_path, "mine", plain())
    full, cut = np.full((110, 150), 255, np.uint8), np.zeros((110, 150), np.uint8)
    cut[:10, 5:9] = 255
    cv2.imwrite(str(folder / "c01-mask.png"), full)
    cv2.imwrite(str(folder / "c03-mask.png"), cut)
    rows = (folder / "list.csv").read_text().splitlines()
    rows = [rows[0] + ",spacing_y,spacing_x", *(r + (",0.5,0.1" if r.startswith("c03") else ",,") for r in rows[1:])]
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    lesions = audit_images(read_images(spec, tmp_path)).lesions
    assert (lesions.full, lesions.at_border) == (1, 2)
    assert lesions.area_mm2 == pytest.approx([10 * 4 * 0.5 * 0.1] * 7)
    assert (min(lesions.area_px), max(lesions.area_px)) == (10 * 4, 110 * 150)


@pytest.mark.parametrize("change", ["smaller", "JPEG", "mirrored"])
def test_a_copy_in_another_data_set_is_an_overlap(tmp_path, change):
    images = read_images(write(tmp_path, "mine", plain()), tmp_path)
    others = dict(zip("abc", breasts(27)[24:], strict=True)) | {"copy": COPIES[change](IMAGES[7])}
    other = write(tmp_path, "other", {name: (image, "normal", name) for name, image in others.items()})
    found = audit_images(images, [read_images(other, tmp_path)])
    (overlap,) = found.overlaps
    assert (overlap.other, overlap.images, ids(overlap.pairs)) == ("other", 4, {"c07 ~ copy"})
    assert found.leaks == ["1 pairs of images shared with 'other'"]
    # What either data set leaves out is not shared.
    without = read_images(other.model_copy(update={"exclude": {"copy.png": "for the test"}}), tmp_path)
    assert audit_images(images, [without]).leaks == []


def test_simulated_images_that_look_alike_are_no_leak():
    options = {**REGISTRY["phantom"].options, "n": 150, "size": 64}
    spec = REGISTRY["phantom"].model_copy(update={"options": options})
    other = spec.model_copy(update={"name": "other", "options": {**options, "seed": 5}})
    images = read_images(spec, Path())
    found = audit_images(images, [read_images(other, Path()), images])
    assert found.loose
    assert found.overlaps[0].pairs
    assert found.leaks == [f"{len(found.overlaps[1].pairs)} pairs of images shared with 'phantom'"]  # its own images


# ---- what is printed -------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry file with a leaking data set, a clean one, and one that shares an image with it."""
    specs = [
        write(tmp_path, "leaking", plain() | {"<b>&copy": (jpeg(IMAGES[4]), "normal", "p99")}),
        write(tmp_path, "clean", plain()),
        write(tmp_path, "other", {"a": (COPIES["smaller"](IMAGES[1]), "normal", "")}),
    ]
    path = tmp_path / "sets.yaml"
    path.write_text(json.dumps({s.name: s.model_dump(mode="json", exclude={"name"}) for s in specs}))
    return path


@pytest.fixture
def bench(monkeypatch, capsys, registry):
    """Runs `usfm-bench data audit`; gives (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        places = ("--data-root", registry.parent, "--registry", registry)
        monkeypatch.setattr(sys, "argv", ["usfm-bench", "data", "audit", *map(str, (*arguments, *places))])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["leaking"], 0),
        (["leaking", "--fail-on", "leak"], 1),
        (["clean", "--fail-on", "leak"], 0),
        (["clean", "--against", "other"], 0),
        (["clean", "--against", "other", "--fail-on", "leak"], 1),
        (["other", "--against", "leaking", "--against", "clean", "--fail-on", "leak"], 1),
        (["missing"], 2),
        (["clean", "--against", "missing"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_exit_code_is_the_answer(bench, arguments, code):
    assert bench(*arguments)[0] == code


def test_json_has_everything_and_the_thresholds(bench):
    _, out, _ = bench("leaking", "--against", "other", "--format", "json")
    found = json.loads(out)
    assert found["thresholds"] == {
        "min_correlation": 0.97,
        "min_correlation_of_hashes": 0.8,
        "max_bits": 4,
        "min_stroke_pixels": 20,
    }
    assert [(p["first"], p["second"], p["grouped"]) for p in found["pairs"]] == [("c04.png", "<b>&copy.png", False)]
    assert found["overlaps"][0]["pairs"][0]["second"] == "a.png"
    assert len(found["leaks"]) == 2
    assert found["lesions"]["empty"] == 13


def test_text_states_the_thresholds_and_shortens_long_lists(tmp_path):
    found = audited(tmp_path, plain() | {f"x{i}": (jpeg(IMAGES[i]), "normal", f"q{i}") for i in range(12)})
    text = audit_text(found)
    assert "correlation of at least 0.97 on a 64 x 64 grid, or of at least 0.8 with at most 4 of 63 bits" in text
    assert text.count("and 2 more; --format json has all") == 2
    assert len(audit_json(found)["pairs"]) == 12


def test_a_sheet_is_written_only_when_asked_and_escapes_names(bench, tmp_path):
    before = set(tmp_path.rglob("*"))
    bench("leaking")
    assert set(tmp_path.rglob("*")) == before
    page = tmp_path / "sheet.html"
    code, _, _ = bench("leaking", "--against", "other", "--sheet", page)
    text = page.read_text()
    assert code == 0
    assert "This file holds patient images" in text
    assert escape("<b>&copy") in text
    assert "<b>&copy" not in text
    assert page.stat().st_mode & 0o777 == 0o600
    pictures = re.findall(r'src="data:image/jpeg;base64,[A-Za-z0-9+/=]+"', text)
    assert len(pictures) == 2 + 2
    assert "http" not in text


def test_a_sheet_of_simulated_images_says_so():
    images = read_images(REGISTRY["phantom"].model_copy(update={"options": {"n": 9, "size": 32}}), Path())
    page = audit_sheet(audit_images(images), images.by_id(), {})
    assert "These images are simulated" in page
    assert "patient images" not in page
    assert "No pair." in page


# ---- the real data ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_busi(busi_root):
    found = audit_images(read_images(REGISTRY["busi"], busi_root))
    assert found.images == 780
    assert ids(p for p in found.pairs if p.exact) == {"benign (433) = malignant (145)"}
    assert len(found.pairs) == 195
    assert (len(found.near_groups), sum(map(len, found.near_groups))) == (133, 296)
    assert not any(pair.mirrored for pair in found.pairs)
    assert (len(found.contradictions), found.loose, found.leaks) == (10, [], [])
    assert [(s.shared_groups, s.parted_pairs) for s in found.splits] == [(0, 0), (0, 0)]
    assert [(c.label, c.images, c.burned_in) for c in found.classes] == [
        ("benign", 436, 180),
        ("malignant", 209, 68),
        ("normal", 133, 13),
    ]
    assert "benign (433) = malignant (145) (labels benign and malignant, left out by the entry)" in audit_text(found)
