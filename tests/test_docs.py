import doctest
import json
import re
import shlex
from itertools import chain
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from usfm_bench import __version__
from usfm_bench.cli.app import app
from usfm_bench.metrics import DEFINITIONS
from usfm_bench.metrics.definitions import emulators
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.corruptions import with_corruptions
from usfm_bench.reporting.method import definition_pages, with_definitions
from usfm_bench.reporting.registry import datasets_pages, with_families
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.model import MODELS
from usfm_bench.suites.plan import suite_names
from usfm_bench.suites.recipes import PROFILES

PROJECT = Path(__file__).parents[1]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "SECURITY.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]


def test_the_list_of_definitions_is_what_the_code_says():
    pages = {name: (PROJECT / "docs" / name).read_text(encoding="utf-8") for name in definition_pages()}
    assert not [n for n, text in pages.items() if with_definitions(text, n) != text], "`make docs` writes them anew"
    assert not [ident for ident in DEFINITIONS if f"| `{ident}` " not in "".join(pages.values())]


def test_the_index_of_the_method_leads_to_every_page_of_definitions():
    names = re.findall(r"\]\(([\w-]+\.md)\)", (PROJECT / "docs" / "method.md").read_text(encoding="utf-8"))
    assert {*definition_pages()} <= {*names}


def words_of(page):
    """Without code, and without the lines and bars of tables."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return len(re.findall(r"\w[^\s|]*", text))


def test_the_site_has_every_page():
    text = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {
        page
        for section in yaml.safe_load(text)["nav"]
        for each in section.values()
        for page in chain(*map(dict.values, each))
    }
    written = {page.relative_to(PROJECT / "docs").as_posix() for page in (PROJECT / "docs").rglob("*.md")}
    assert pages == {"index.md", "contributing.md", "security.md", "changelog.md", *written}


def test_every_page_can_be_read_at_one_sitting():
    lengths = {page.name: words_of(page) for page in PAGES}
    assert not {name: words for name, words in lengths.items() if words > 2500}


def test_the_list_of_families_is_what_the_code_says():
    text = (PROJECT / "docs" / "models.md").read_text(encoding="utf-8")
    assert with_families(text) == text, "`make docs` writes it anew"


def test_the_list_of_corruptions_is_what_the_registry_says():
    text = (PROJECT / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert with_corruptions(text) == text, "`make docs` writes it anew"


def test_the_pages_of_data_sets_are_what_the_registry_says():
    registry = load_registry(PROJECT / "datasets.yaml")
    pages = datasets_pages(registry.values())
    kept = {name: (PROJECT / "docs" / name).read_text(encoding="utf-8") for name in pages}
    assert pages == kept, "`make docs` writes them anew"
    index, whole = kept.pop("datasets.md"), "".join(kept.values())
    for name, spec in registry.items():
        assert (f"| `{name}` " in index) == (f"\n- `{name}`: " in whole) != spec.synthetic


def test_numbers_of_the_readme_are_those_of_the_measured_records():
    """Its table of BUSI, cell by cell, as `report` prints them, and what it says of differences."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    cells = re.findall(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", text)
    printed = ""
    for suite in ("busi-seg", "busi-cls"):
        store = Store(PROJECT / "reports" / "measured" / f"{suite}-cpu")
        printed += render([build_report(store, suite, "quick")], "markdown")
    assert len(cells) == 8
    assert not [cell for cell in cells if cell not in printed]
    for metric, points in (("DSC", "7.0"), ("ACC", "35.0")):
        assert re.search(rf"{points} points of {metric}|of {metric} only one of {points}", text)
        assert re.search(
            rf"\b{metric}: .+ A true difference of {points} points would be found with 80 % power", printed
        )
    assert re.search(r"DSC: unet.+ is better than usfm-tiny-scratch by more than chance explains", printed)
    assert re.search(r"ACC: timm.+ is not told apart from usfm-tiny-scratch", printed)


def test_what_weights_are_worth_is_what_the_measured_records_say():
    """The cells of the table of EfficientNet-Lite0, and those that the page on usage takes from it."""
    report = build_report(Store(PROJECT / "reports" / "measured" / "efficientnet-busi-cpu"), "busi-cls", "quick")
    printed = render([report], "markdown")
    text = (PROJECT / "reports" / "measured" / "README.md").read_text(encoding="utf-8")
    table = text[text.index("## What real weights are worth") : text.index("Fine-tuned whole, ImageNet's")]
    told = (PROJECT / "docs" / "usage.md").read_text(encoding="utf-8").partition("show what weights are worth")[2]
    cells, taken = (re.findall(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", each.replace("\n", " ")) for each in (table, told))
    assert len(cells) == 8
    assert not [cell for cell in cells if cell not in printed]
    assert taken[:4] == [cells[i] for i in (0, 1, 4, 5)]


def test_every_suite_and_profile_is_on_the_page_usage():
    text = (PROJECT / "docs" / "usage.md").read_text(encoding="utf-8")
    assert not [
        name for name in [*suite_names(), *PROFILES] if f"`{name}`" not in text and f"profile {name}" not in text
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_a_page_names_exist(page):
    names = re.findall(r"`((?:benchmark|docs|tests|scripts|reports|pretrained)/[\w./-]+)`", page.read_text())
    generated = ("reports/runs", "pretrained/USFM_latest.pth")
    assert not [n for n in names if not n.startswith(generated) and not (PROJECT / n).exists()]


def shown_commands(page):
    """Lines of code blocks that call usfm-bench, as words without the first."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = "".join(re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
    lines = re.findall(r"^    (usfm-bench .+)$", text, flags=re.MULTILINE)
    lines += re.findall(r"^(usfm-bench .+)$", fenced, flags=re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_that_a_page_shows_can_be_parsed(page):
    for words in shown_commands(page):
        command, rest = get_command(app), list(words)
        while rest and hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        parser = command.make_parser(command.make_context("usfm-bench", [], resilient_parsing=True))
        _, left, _ = parser.parse_args(rest)  # refuses unknown options, and options without their value
        assert not left, words


CHEAP = ("claims reports/", "data list", "data show")
SHOWN = sorted({" ".join(words) for page in PAGES for words in shown_commands(page)})


@pytest.mark.parametrize("command", [each for each in SHOWN if each.startswith(CHEAP)])
def test_cheap_commands_that_a_page_shows_run(command, monkeypatch):
    monkeypatch.chdir(PROJECT)
    found = CliRunner().invoke(app, shlex.split(command))
    # The paper's tables hold rows that are impossible: the answer is no.
    assert found.exit_code == command.startswith("claims"), found.output
    assert found.output.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_that_a_page_names_in_passing_exist(page):
    root = get_command(app)
    for first, second in re.findall(r"`usfm-bench ([a-z][\w-]*)(?: ([a-z][\w-]*))?", page.read_text(encoding="utf-8")):
        assert first in root.commands, f"usfm-bench {first}"
        within = getattr(root.commands[first], "commands", None)
        assert within is None or not second or second in within, f"usfm-bench {first} {second}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_within_the_project_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings], anchor


def test_the_row_that_reviewers_are_shown_is_refuted_as_the_page_says(tmp_path):
    text = (PROJECT / "docs" / "reviewers.md").read_text(encoding="utf-8")
    (tmp_path / "rows.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[1], encoding="utf-8")
    found = CliRunner().invoke(app, ["claims", str(tmp_path / "rows.yaml")])
    assert found.exit_code == 1
    assert "impossible: Table 2, BUSI" in found.output
    assert "88.0" in found.output


def test_what_a_design_finds_is_what_reviewers_are_told():
    text = (PROJECT / "docs" / "reviewers.md").read_text(encoding="utf-8")
    [words] = re.findall(r"usfm-bench (design .+)", text)
    found = CliRunner().invoke(app, [*shlex.split(words), "--format", "json"])
    [sensitivity] = [row for row in json.loads(found.stdout)["metrics"] if row["metric"] == "SEN"]
    [told] = re.findall(r"(\d+) points of sensitivity", text)
    assert round(100 * sensitivity["detectable"]) == int(told)


def test_the_version_to_cite_is_the_one_that_is_installed():
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["version"], cited["cff-version"]) == (__version__, "1.2.0")


def test_the_readme_fits_a_screen():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert len(text.split()) < 600


@pytest.mark.usefixtures("one_thread")
def test_the_example_of_the_readme_gives_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(PROJECT / "README.md"), module_relative=False, encoding="utf-8")
    assert (failed, tried) == (0, 4)


def test_models_that_the_front_pages_name_exist():
    text = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "README.md", PROJECT / "docs" / "usage.md"))
    names = re.findall(r"`((?:usfm|unet)-[\w-]+)`", text)
    others = {"usfm-bench", *emulators()}
    assert not [name for name in names if name not in MODELS and name not in others]
