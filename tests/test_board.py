import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from submitted import MODELS, SUITE, invent_board, invent_runs
from usfm_bench.board.entries import read_board
from usfm_bench.board.pack import Said, submit
from usfm_bench.board.published import claimed_rows
from usfm_bench.board.site import build_site, suite_page
from usfm_bench.board.submission import NAME, Statement, find_submissions, read_submission
from usfm_bench.board.verdicts import record_verdicts, verify_all
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.suites.plan import load_suite

EVIL = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def board(tmp_path_factory) -> Path:
    """Three models that were verified, and one with markup in every text that a submitter writes."""
    folder = tmp_path_factory.mktemp("board a b#ü")
    board = invent_board(folder)
    record_verdicts(board, verify_all(find_submissions(board), board))
    said = Said(EVIL, EVIL, EVIL, Statement(verdict="unknown", why=EVIL), EVIL)
    made = submit(invent_runs(folder / "evil", [MODELS[0]]), load_suite(SUITE), "smoke", MODELS[0], board, said)
    whole = read_submission(made)
    whole = whole.model_copy(
        update={
            "created": EVIL,
            "adaptation": EVIL,
            "contamination": {"phantom-lesion": Statement(verdict="unknown", why=EVIL)},
        }
    )
    whole = whole.model_copy(update={"digest": whole.own_digest})
    (made / NAME).write_text(json.dumps(whole.model_dump(mode="json")))
    shutil.copy(PROJECT / "leaderboard" / "published.yaml", board)
    return board


@pytest.fixture(scope="module")
def site(board) -> Path:
    return build_site(board, board.parent / "site")[0].parent


# ---- what is on it


def test_the_best_stands_first_and_letters_say_who_is_not_told_apart(board):
    tables, notes = read_board(board)
    assert notes == []
    masks = next(t for t in tables if t.dataset == "phantom-lesion")
    means = [line.rows[0].mean for line in masks.lines]
    assert means == sorted(means, reverse=True)
    assert len(masks.pairs) == 2 * 6  # two metrics, four models
    for pair in masks.pairs:
        letters = [line.letters[pair.metric] for line in masks.lines if line.label in (pair.a, pair.b)]
        assert bool(set(letters[0]) & set(letters[1])) == (pair.p_holm is None or pair.p_holm > 0.05)


def test_a_submission_that_nobody_verified_is_claimed(board):
    tables, _ = read_board(board)
    tiers = {line.label: line.tier for t in tables for line in t.lines}
    assert tiers == {**dict.fromkeys(MODELS, "re-scored"), EVIL: "claimed"}


def test_a_changed_submission_is_left_out_and_said(board, tmp_path):
    copy = Path(shutil.copytree(board, tmp_path / "copy"))
    path = next((copy / SUITE / MODELS[0]).rglob("cases.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    page, notes = build_site(copy, tmp_path / "site")
    assert len(notes) == 1
    assert "was changed after packing" in notes[0]
    assert "was changed after packing" in page.read_text()


def test_only_the_newest_revision_is_ranked(board, tmp_path):
    copy = Path(shutil.copytree(board, tmp_path / "copy"))
    store = invent_runs(tmp_path / "runs", [MODELS[0]])
    submit(store, load_suite(SUITE), "smoke", MODELS[0], copy, Said(contact="Ann <ann@example.org>"))
    tables, _ = read_board(copy)
    kept = [line.submission.revision for t in tables for line in t.lines if line.label == MODELS[0]]
    assert kept == [2]


def test_downloads_hold_the_same_rows(site, board):
    table, again = pd.read_csv(site / "board.csv"), pd.read_parquet(site / "board.parquet")
    assert len(table) == len(again) == sum(len(line.rows) for t in read_board(board)[0] for line in t.lines)
    assert table["mean"].tolist() == pytest.approx(again["mean"].tolist())
    assert {"tier", "ci_low", "ci_high", "contamination", "licence", "parameters", "digest"} <= set(table)


def test_no_text_of_a_submitter_becomes_markup(site):
    pages = [page.read_text(encoding="utf-8") for page in site.glob("*.html")]
    assert not any("<img" in text for text in pages)
    assert sum("&lt;img" in text for text in pages) >= 3  # the first page, a suite, a model, a data set


def test_published_rows_come_with_a_verdict_and_a_protocol(board, site):
    rows = claimed_rows(board)
    assert {"possible", "impossible"} <= {row.verdict.verdict for row in rows}
    text = (site / "index.html").read_text()
    assert "the largest value over epochs on the split that is reported" in text
    assert text.count("<summary>why</summary>") == sum(row.verdict.verdict == "impossible" for row in rows)


def test_a_board_without_anything_is_an_error_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("usfm_bench.board.site.claimed_rows", lambda board: [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="has no submission to show"):
        build_site(tmp_path / "empty", tmp_path / "site")
    done = CliRunner().invoke(app, ["leaderboard", "build", "--board", str(tmp_path / "no"), "--out", str(tmp_path)])
    assert isinstance(done.exception, BenchError)


# ---- what is shipped


@pytest.mark.slow
def test_every_submission_that_ships_is_verified_anew():
    board = PROJECT / "leaderboard"
    found = verify_all(find_submissions(board), board)
    assert {(v.folder.parent.name, v.faults) for v in found if v.faults} == set()
    assert {v.tier for v in found} == {"re-scored"}


def test_the_board_that_ships_is_small():
    sizes = [path.stat().st_size for path in (PROJECT / "leaderboard").rglob("*") if path.is_file()]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 3_000_000


@pytest.mark.slow
def test_a_thousand_submissions_are_built_in_a_minute(board, tmp_path):
    import time

    many = thousand(board, tmp_path / "many")
    started = time.perf_counter()
    build_site(many, tmp_path / "site")
    assert time.perf_counter() - started < 60


def thousand(board: Path, out: Path, n: int = 1000) -> Path:
    """Copies of one submission under other names, each shifted a little."""
    whole = read_submission(board / SUITE / MODELS[0] / "r1")
    for i in range(n):
        name = f"model-{i:04}"
        target = out / SUITE / name / "r1"
        files = {}
        for place in sorted((board / SUITE / MODELS[0] / "r1").rglob("seed-*")):
            to = target / "trials" / SUITE / "phantom-lesion" / name / "smoke" / "fold-0" / place.name
            to.mkdir(parents=True)
            content = json.loads((place / "record.json").read_text())
            content["spec"]["model"] = name
            (to / "record.json").write_text(json.dumps(content))
            cases = pd.read_parquet(place / "cases.parquet")
            cases["DSC"] *= 1 - i / (2 * n)
            cases.to_parquet(to / "cases.parquet", index=False)
            shutil.copy(place / "predictions.npz", to)
            files |= {
                p.relative_to(target).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in to.iterdir()
            }
        own = whole.model_copy(update={"model": name, "files": files})
        own = own.model_copy(update={"digest": own.own_digest})
        (target / NAME).write_text(json.dumps(own.model_dump(mode="json")))
    return out


# ---- in a browser


@pytest.fixture
def visit(browser, site):
    """Opens a page; afterwards the console must be clean and nothing asked for outside the site."""
    faults, contexts = [], []

    def opened(name="", width=1280, scheme="light", fragment=""):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: (faults.append("a dialog opened"), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith((site.as_uri(), "data:")) else faults.append(r.url))
        page.goto((site / (name or suite_page(SUITE))).as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def shown_rows(page) -> int:
    return page.locator("table.board tbody tr:visible").count()


def test_every_page_opens_without_a_fault_and_fits_a_phone(visit, site):
    for path in sorted(site.glob("*.html")):
        page = visit(path.name, width=390)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_link_of_the_site_leads_somewhere(site):
    import re

    for page in site.glob("*.html"):
        for link in re.findall(r'href="([^"]+)"', page.read_text()):
            name, _, ident = link.partition("#")
            if name == "data:,":
                continue
            target = page if not name else site / name
            assert target.exists(), link
            assert not ident or f'id="{ident}"' in target.read_text(), link


def test_filters_hide_rows_and_the_address_keeps_them(visit):
    page = visit()
    total = shown_rows(page)
    page.locator("[data-filter=task]").select_option("segmentation")
    assert shown_rows(page) == len(MODELS) + 1
    page.locator("[data-filter=clean]").check()
    assert shown_rows(page) == len(MODELS)  # of one it is unknown
    fragment = page.evaluate("location.hash")
    assert shown_rows(visit(fragment=fragment)) == len(MODELS)
    page.locator("[data-reset]").click()
    assert shown_rows(page) == total


def test_one_click_shows_the_paired_tests_of_a_row(visit, board):
    page = visit()
    section = page.locator("[data-table]", has_text="phantom-lesion")
    section.locator("[data-compare]").nth(1).press("Enter")  # by key as well
    rows = section.locator(".pairs tbody tr")
    assert rows.count() == 2 * 3  # two metrics, three others
    tables, _ = read_board(board)
    line = next(t for t in tables if t.dataset == "phantom-lesion").lines[1]
    assert all(line.label in text for text in rows.all_inner_texts())
    again = visit(fragment=page.evaluate("location.hash"))
    assert again.locator("[data-table]", has_text="phantom-lesion").locator(".pairs tbody tr").count() == 6


def test_headings_sort_by_key(visit):
    page = visit()
    section = page.locator("[data-table]", has_text="phantom-lesion")
    heading = section.locator("table.board thead th", has_text="DSC")
    values = "rows => rows.map(r => Number(r.cells[2].dataset.order))"
    for way in ("descending", "ascending"):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == way
        found = section.locator("table.board tbody tr").evaluate_all(values)
        assert found == sorted(found, reverse=way == "descending")


def test_dark_is_dark(visit):
    page = visit(scheme="dark")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, colour[4:-1].split(","))) < 150


def test_text_of_a_submitter_stands_on_the_page_as_it_was_written(visit):
    assert page_text(visit()).count(EVIL) >= 1


def page_text(page) -> str:
    return page.locator("body").inner_text()
