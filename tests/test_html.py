import hashlib
import itertools
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import usfm_bench.reporting.writers.html.page as page_module
from invented import invent_store
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.reporting.figures.group import groups_of
from usfm_bench.reporting.report import build_report
from usfm_bench.reporting.sections.tables import gaps
from usfm_bench.reporting.writers.html import write_html
from usfm_bench.reporting.writers.html.contours import SCALE, path_of
from usfm_bench.reporting.writers.html.hard import hard_lists
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.results.store import Store
from usfm_bench.specs.condition import Condition

MODELS = ("usfm-micro-scratch", "unet-resnet18-scratch")
EVIL = "<img src=x onerror=alert(1)>"
CASE = f'{EVIL} & "quoted" a b#ü/é%20?'
PATIENT = "patient-4711-Meier"


def change_records(store: Store, change, only=lambda record: True) -> None:
    """Rewrite records in place."""
    for folder, record in list(store.finished("demo")):
        if only(record):
            (folder / "record.json").write_text(change(record).model_dump_json())


def with_dataset(**fields):
    def change(record):
        dataset = record.spec.dataset.model_copy(update=fields)
        return record.model_copy(update={"spec": record.spec.model_copy(update={"dataset": dataset})})

    return change


def make_hostile(store: Store) -> None:
    """Markup as the name of a data set, a model and the first case; patients' names as groups."""
    for folder, record in list(store.finished("demo")):
        path = folder / "cases.parquet"
        cases = pd.read_parquet(path)
        first = cases["case_id"].min()
        cases["case_id"] = cases["case_id"].replace(first, CASE)
        cases["group_id"] = [f"{PATIENT}-{i}" for i in range(len(cases))]
        cases.to_parquet(path, index=False)
        kept = load_predictions(folder / "predictions.npz")
        ids = tuple(CASE if case == first else case for case in kept.case_ids)
        save_predictions(folder / "predictions.npz", replace(kept, case_ids=ids))
        spec = record.spec
        dataset = spec.dataset.model_copy(update={"name": f"{spec.dataset.name} {EVIL}"})
        model = EVIL if spec.model == MODELS[1] else spec.model
        spec = spec.model_copy(update={"dataset": dataset, "model": model})
        (folder / "record.json").write_text(record.model_copy(update={"spec": spec}).model_dump_json())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, tiny_registry) -> Path:
    """A page of two data sets and two models with every name hostile, in a folder that needs quoting."""
    folder = tmp_path_factory.mktemp("hostile")
    store = invent_store(folder, tiny_registry, MODELS, ("tiny-lesion", "tiny"), seeds=2)
    # A U-Net does not classify, so this data set lacks one of the models.
    shutil.copytree(folder / "runs", folder / "kept")
    make_hostile(store)
    return write_html(store.root, ["demo"], folder / "a b#ü", data_root=folder)


@pytest.fixture
def no_plots(monkeypatch):
    """Plots take most of the time, and have tests of their own."""
    monkeypatch.setattr(page_module, "plots_of", lambda report, store: iter(()))


def written(store: Store, tmp_path: Path, **options) -> str:
    return write_html(store.root, ["demo"], tmp_path / "page", **options).read_text(encoding="utf-8")


def data_of(text: str) -> list[dict]:
    """The blocks of JSON in a page."""
    found = re.findall(r'<script type="application/json" id="[^"]*">(.*?)</script>', text, re.DOTALL)
    return [json.loads(block) for block in found]


# ---- the file


def test_a_mask_becomes_a_path_along_the_borders_of_its_pixels():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 1:4] = True  # rows 1 and 2, columns 1 to 3: units 2 to 5 and 2 to 7
    assert path_of(mask) == "M2 2l0 3 5 0 0 -3z"
    assert path_of(np.zeros((5, 6), bool)) == ""


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_a_path_filled_again_is_the_mask_but_for_half_a_pixel(seed):
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(40, 50)), (0, 0), 3)
    mask = noise > 0.04
    mask[15:18, 20:24] = False  # a hole, often
    canvas = np.zeros((40 * SCALE, 50 * SCALE), np.uint8)
    lines = []
    for part in re.findall(r"M(-?\d+) (-?\d+)([^M]*)z", path_of(mask)):
        steps = np.array(re.findall(r"-?\d+", part[2]), int).reshape(-1, 2) if part[2].startswith("l") else []
        start = np.array([[int(part[0]), int(part[1])]])
        lines.append(np.vstack([start, start + np.cumsum(steps, axis=0)]) if len(steps) else start)
    cv2.fillPoly(canvas, [line.astype(np.int32) for line in lines], 1)
    whole = mask.repeat(SCALE, axis=0).repeat(SCALE, axis=1).astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)  # two units, which is one pixel: half for the path, half for the filling
    assert not (canvas & ~cv2.dilate(whole, kernel)).any()
    assert not (cv2.erode(whole, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) & ~canvas).any()


def test_the_page_is_small_and_whole(hostile):
    assert [path.name for path in hostile.parent.iterdir()] == ["index.html"]
    assert hostile.stat().st_size < 4_000_000


def test_no_group_and_no_folder_is_on_the_page(hostile):
    text = hostile.read_text(encoding="utf-8")
    assert PATIENT not in text
    assert str(hostile.parent.parent) not in text


def test_names_are_never_markup(hostile):
    text = hostile.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_every_link_leads_somewhere_and_ids_are_unique(hostile):
    found = Tags(hostile)
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert len(links) > 50
    cases = [link.removeprefix("#case/").split("/") for link in links if link.startswith("#case/")]
    assert {link[1:] for link in links if not link.startswith("#case/")} <= set(ids)
    heads = {attributes["id"] for _, attributes in found.tags if attributes.get("class") == "browser"}
    known = {case[0] for block in data_of(hostile.read_text("utf-8")) if "cases" in block for case in block["cases"]}
    assert cases
    assert {ident for ident, _ in cases} <= heads
    assert {unquote(case) for _, case in cases} <= known


@pytest.mark.parametrize("dataset", ["tiny-lesion", "tiny"])
def test_hard_cases_are_those_of_the_tables(make_store, dataset):
    store = make_store(datasets=(dataset,), seeds=2)
    report = build_report(store, "demo")
    [group] = groups_of(report, store, 180, None)
    scores = {}
    for folder, record in store.finished("demo"):
        cases = pd.read_parquet(folder / "cases.parquet").set_index("case_id")
        of_truth = {name: cases[f"p_{name}"] for name in record.classes if f"p_{name}" in cases}
        score = cases["DSC"].where(cases["lesion"] > 0) if dataset == "tiny-lesion" else None
        if score is None:
            score = pd.Series({case: of_truth[cases["class"][case]][case] for case in cases.index})
        scores.setdefault(record.spec.model, []).append(score)
    table = pd.DataFrame({model: pd.concat(each, axis=1).mean(axis=1, skipna=False) for model, each in scores.items()})
    # Under haze one model alone loses, and most on the case that all find easiest.
    easiest = table.mean(axis=1).idxmax()
    first = group.results[0]
    lost = first.cases.copy()
    rows = lost["case_id"] == easiest
    lost.loc[rows, [name for name in lost if name == "DSC" or str(name).startswith("p_")]] = 0.0
    haze = Condition(corruption="haze", severity=5, version=1)
    corrupted = [{haze: replace(first, cases=lost)}, *({} for _ in group.results[1:])]
    hardest, apart, falls = hard_lists(group, "b", corrupted)
    ordered = table.mean(axis=1).dropna().sort_values(kind="stable")
    assert [case.case for case in hardest.cases] == ordered.index[:6].tolist()
    below = (table.loc[hardest.cases[0].case] < 0.5).sum()
    assert f"{below} of {table.shape[1]} models below 50 %" in hardest.cases[0].words
    spread = (table.max(axis=1) - table.min(axis=1)).dropna()
    assert spread[apart.cases[0].case] == spread.max()
    [fall] = falls.cases
    assert fall.case == easiest
    assert fall.words.startswith("Haze")
    assert fall.words.endswith("to 0.0 %")
    assert fall.link == f"#case/b/{quote(easiest, safe='')}"


def test_headings_captions_and_texts_for_images(hostile):
    found = Tags(hostile)
    tags = [tag for tag, _ in found.tags]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))
    assert tags.count("caption") == tags.count("table")
    assert all(attributes.get("alt") for tag, attributes in found.tags if tag == "img")
    assert dict(found.tags)["html"]["lang"] == "en"
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on") or name == "style"]


def test_the_page_forbids_everything_that_is_not_its_own(hostile):
    policy = next(a["content"] for tag, a in Tags(hostile).tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.keys() >= {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert re.fullmatch(r"'sha256-\S+' 'sha256-\S+'", rules["script-src"])  # the library and the page's own
    assert "unsafe" not in policy


class Tags(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


def test_the_shipped_library_is_the_one_that_is_noted():
    assets = Path(page_module.__file__).parent / "assets"
    digest = hashlib.sha256((assets / "dataTables.min.js").read_bytes()).hexdigest()
    assert digest in (assets / "README.md").read_text()
    assert "MIT" in (assets / "dataTables.LICENSE.txt").read_text()


def test_each_case_has_the_values_of_its_table(make_store, tmp_path, no_plots):
    store = make_store(seeds=2, models=["usfm-micro-scratch"])
    head, *chunks = data_of(written(store, tmp_path))
    details = [case for chunk in chunks for case in chunk]
    [(folder, _), _] = store.finished("demo")
    cases = pd.read_parquet(folder / "cases.parquet").set_index("case_id")
    assert len(head["cases"]) == len(details) == len(cases)
    kept = load_predictions(folder / "predictions.npz")
    for (name, label, size), case in zip(head["cases"], details, strict=True):
        row, place = cases.loc[name], kept.case_ids.index(name)
        assert (label, size) == (row["class"], row["target_px"])
        assert case["values"][0][0][0] == round(1000 * row["DSC"])
        assert case["values"][0][1][0] == round(10 * row["HD95"])
        assert case["reference"] == path_of(kept.references[place])
        assert case["predictions"] == [path_of(kept.predictions[place])]


def test_images_only_where_they_may_be_and_the_page_says_so(make_store, tmp_path, no_plots):
    store = make_store(seeds=1, models=["usfm-micro-scratch"])
    simulated = written(store, tmp_path, data_root=tmp_path)
    assert "data:image/jpeg" in simulated
    assert "No image of a patient" in simulated
    assert "data:image/jpeg" not in written(store, tmp_path, data_root=None)
    change_records(store, with_dataset(synthetic=False))
    assert "holds images of patients" in written(store, tmp_path, data_root=tmp_path)
    change_records(store, lambda record: record.model_copy(update={"data_hash": "0" * 64}))
    other = written(store, tmp_path, data_root=tmp_path)
    assert "data:image/jpeg" not in other
    assert "not the one that these trials were made with" in other
    change_records(store, with_dataset(layout="masks-beside-images", path="nowhere"))
    assert "cannot be read" in written(store, tmp_path, data_root=tmp_path)


def test_records_of_another_schema_are_left_out_and_named(make_store, tmp_path, no_plots):
    store = make_store(seeds=2, models=["usfm-micro-scratch"])
    first, second = (folder / "record.json" for folder, _ in store.finished("demo"))
    first.write_text(first.read_text().replace('"schema_version": 1', '"schema_version": 0'))
    text = written(store, tmp_path)
    assert "Left out demo/tiny-lesion/usfm-micro-scratch/smoke/fold-0/seed-0/record.json: schema_version is 0" in text
    assert "One seed says nothing of how much another training differs" in text
    second.write_text("{}")
    with pytest.raises(BenchError, match=r"(?s)No trial of suite 'demo' can be read.*seed-0.*seed-1"):
        written(store, tmp_path)


def test_a_model_without_a_data_set_is_a_visible_gap(make_store, tmp_path, no_plots):
    store = make_store(seeds=1, models=list(MODELS), datasets=["tiny-lesion", "phantom-lesion"])
    for folder, record in list(store.finished("demo")):
        if (record.spec.dataset.name, record.spec.model) == ("phantom-lesion", MODELS[1]):
            shutil.rmtree(folder)
    assert [(gap.dataset, gap.model) for gap in gaps(build_report(store, "demo"))] == [("phantom-lesion", MODELS[1])]
    text = written(store, tmp_path)
    assert f"phantom-lesion, {MODELS[1]}: no finished trial." in text
    assert f'<td class="name">{MODELS[1]} (no finished trial)</td>' in text


def test_masks_that_were_not_kept_are_said_to_be_missing(make_store, tmp_path, no_plots):
    store = make_store(seeds=1, models=["usfm-micro-scratch"])
    [(folder, _)] = store.finished("demo")
    (folder / "predictions.npz").unlink()
    assert "No contours of usfm-micro-scratch" in written(store, tmp_path)


def test_faults_of_the_user_are_told_before_any_work(make_store, tmp_path):
    store = make_store(seeds=1, models=["usfm-micro-scratch"])
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file: cannot be written"):
        write_html(store.root, ["demo"], tmp_path / "file")
    with pytest.raises(BenchError, match="No finished trial of suite 'busi-seg'"):
        write_html(store.root, ["busi-seg"], tmp_path / "page")
    result = CliRunner().invoke(app, ["report", "--suite", "demo", "--format", "html"])
    assert isinstance(result.exception, BenchError)
    assert "--out DIR" in str(result.exception)


def test_the_page_is_the_file_that_was_named(make_store, tmp_path):
    store = make_store()
    assert write_html(store.root, ["demo"], tmp_path / "new" / "report.html") == tmp_path / "new" / "report.html"
    (tmp_path / "old.html").mkdir()  # as this was written before
    assert write_html(store.root, ["demo"], tmp_path / "old.html") == tmp_path / "old.html" / "index.html"


# ---- in a browser


@pytest.fixture
def visit(browser, hostile):
    """Opens the page; afterwards the console must be clean and nothing asked for outside the page."""
    faults, contexts = [], []

    def opened(width=1280, scheme="light", fragment=""):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: (faults.append("a dialog opened"), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith((hostile.as_uri(), "data:")) else faults.append(r.url))
        page.goto(hostile.as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


MAIN = "#s0-table-0-main"


def soon(locator):
    """Playwright's checks of an element, which wait for what the page does a moment later."""
    from playwright.sync_api import expect

    return expect(locator)


def column(page, table: str, i: int) -> list[str]:
    return page.locator(f"{table} tbody tr").evaluate_all("(rows, i) => rows.map(r => r.cells[i].textContent)", i)


def test_a_table_sorts_by_click_and_by_key_and_gaps_stand_last(visit):
    page = visit()
    pairs = "#s0-table-1-main"
    heading = page.locator(f"{pairs} thead th", has_text="SPEC")
    i = heading.evaluate("th => th.cellIndex")
    heading.click()
    soon(heading).to_have_attribute("aria-sort", "ascending")
    values = column(page, pairs, i)
    numbers = [float(text.split(" ")[0]) for text in values if text]
    assert numbers == sorted(numbers)
    assert "" in values  # the paper's rows have no specificity
    assert values[-values.count("") :] == [""] * values.count("")
    button = heading.locator("[role=button]")
    button.focus()
    page.keyboard.press("Enter")
    soon(heading).to_have_attribute("aria-sort", "descending")
    down = column(page, pairs, i)
    assert down[: len(numbers)] == values[: len(numbers)][::-1]
    assert down[-1] == ""


def test_a_table_is_filtered_by_text_and_by_data_set(visit):
    page = visit()
    box = page.locator("#s0-method ~ .scroll").first
    whole = box.locator("tbody tr").count()
    box.get_by_label("Filter").fill("hausdorff")
    soon(box.locator(".dt-info")).to_contain_text(f"of {whole}")
    assert 0 < box.locator("tbody tr").count() < whole
    choice = page.get_by_label("Data set").first
    options = choice.locator("option").all_text_contents()
    name = next(text for text in options if EVIL in text)
    choice.select_option(label=name)
    soon(page.locator(f"{MAIN} tbody tr", has_text="reported")).to_have_count(0)
    assert set(column(page, MAIN, 0)) == {name}


def test_a_case_opens_by_row_by_point_and_by_key(visit):
    page = visit()
    browser = page.locator(".browser", has_text="tiny-lesion")
    case = browser.locator(".case")
    rows = browser.locator("table.cases tbody tr")
    rows.nth(2).locator("td").nth(1).click()
    title = case.locator("h4").first
    soon(title).to_have_text(rows.nth(2).locator("a").text_content())
    assert case.locator("svg path.reference").count() == 2  # one a model
    assert case.locator("svg image").count() == 2
    assert "DSC (%)" in case.locator("table").first.text_content()
    soon(case).to_be_focused()
    page.keyboard.press("ArrowRight")
    soon(title).to_have_text(rows.nth(3).locator("a").text_content())
    page.keyboard.press("Escape")
    soon(rows.nth(3).locator("a")).to_be_focused()
    rows.nth(5).locator("a").focus()
    page.keyboard.press("Enter")
    soon(title).to_have_text(rows.nth(5).locator("a").text_content())
    point = browser.locator("circle").nth(7)
    said = point.locator("title").text_content()
    point.dispatch_event("click")
    soon(title).to_have_text(said.split(": ")[0])
    soon(browser.locator("circle.chosen title")).to_have_text(said)
    browser.get_by_role("checkbox", name="prediction").uncheck()
    soon(case.locator("path.prediction").first).to_be_hidden()


def test_a_metric_is_chosen_for_table_and_points(visit):
    page = visit()
    browser = page.locator(".browser", has_text="tiny-lesion")
    before = browser.locator("tbody tr").first.text_content()
    browser.get_by_label("Metric").select_option(label="HD95")
    soon(browser.locator("tbody tr").first).not_to_have_text(before)
    soon(browser.locator(".points")).to_contain_text("HD95 (px)")


def test_a_link_opens_a_case_whatever_its_name(visit):
    page = visit()
    browser = page.locator(".browser", has_text="tiny-lesion")
    browser.get_by_label("Filter").fill("onerror")
    soon(browser.locator("table.cases tbody tr")).to_have_count(1)
    link = browser.locator("table.cases tbody a")
    assert link.text_content() == CASE
    link.click()
    soon(browser.locator("tr.chosen")).to_have_count(1)
    soon(browser.locator(".case h4").first).to_have_text(CASE)
    fragment = page.evaluate("location.hash")
    again = visit(fragment=fragment)
    case = again.locator(".browser", has_text="tiny-lesion").locator(".case")
    soon(case.locator("h4").first).to_have_text(CASE)
    assert again.locator("img[src=x]").count() == 0
    assert case.get_by_role("link", name=EVIL).count() == 1


def test_a_hard_case_opens_in_the_browser_of_cases(visit):
    page = visit()
    browser = page.locator(".browser", has_text="tiny-lesion")
    browser.get_by_text("Cases to look at first").click()
    link = browser.locator(".hard a").first
    name = link.text_content()
    link.click()
    soon(browser.locator(".case h4").first).to_have_text(name)


def test_a_number_leads_to_where_it_comes_from(visit):
    page = visit()
    page.locator(f"{MAIN} a.from").first.click()
    row = page.locator("tr:target")
    soon(row).to_be_focused()
    assert row.locator("details").evaluate("d => d.open")
    assert "record.json" in row.text_content()


def luminance(colour: str) -> float:
    parts = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_nothing_is_wider_than_the_screen_and_text_has_contrast(visit, width, scheme):
    page = visit(width, scheme)
    for each in page.locator("details").all():
        each.evaluate("d => { d.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper > 0.5) == (scheme == "light")
    for selector in ("body", "caption", "nav a", ".banner.synth", "h2"):
        ink = luminance(page.locator(selector).first.evaluate("node => getComputedStyle(node).color"))
        dark, light = sorted((ink, paper))
        assert (light + 0.05) / (dark + 0.05) > 4.5, selector  # WCAG 2.2, 1.4.3


def test_it_prints_what_is_folded_and_no_controls(visit):
    page = visit()
    assert page.pdf()[:5] == b"%PDF-"
    page.emulate_media(media="print")
    assert page.locator(".dt-search").first.is_hidden()
    assert page.locator("nav").first.is_hidden()
    assert page.locator("details.fold table").first.is_visible()


def test_every_control_has_a_name_and_all_are_reached_by_tab(visit):
    page = visit()
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, button, [role=button], [role=region], [role=group]')]"
        ".filter(n => !(n.labels?.length || n.getAttribute('aria-label') || n.textContent.trim())).length"
    )
    assert nameless == 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the summary"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert page.evaluate("[...document.querySelectorAll('[tabindex]')].every(n => n.tabIndex <= 0)")
