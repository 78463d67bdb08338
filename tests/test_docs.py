import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from usfm_bench.cli.app import app
from usfm_bench.metrics import DEFINITIONS
from usfm_bench.metrics.definitions import emulators
from usfm_bench.reporting.corruptions import with_corruptions
from usfm_bench.reporting.method import definition_pages, with_definitions
from usfm_bench.reporting.registry import datasets_markdown, with_families
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.model import MODELS
from usfm_bench.suites.plan import suite_names
from usfm_bench.suites.recipes import PROFILES

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


def test_the_list_of_definitions_is_what_the_code_says():
    pages = {name: (PROJECT / "docs" / name).read_text(encoding="utf-8") for name in definition_pages()}
    assert not [n for n, text in pages.items() if with_definitions(text, n) != text], "`make docs` writes them anew"
    assert not [ident for ident in DEFINITIONS if f"| `{ident}` " not in "".join(pages.values())]


def test_the_index_of_the_method_leads_to_pages_that_can_be_read_at_one_sitting():
    names = re.findall(r"\]\(([\w-]+\.md)\)", (PROJECT / "docs" / "method.md").read_text(encoding="utf-8"))
    assert {*definition_pages()} <= {*names}
    lengths = {name: len((PROJECT / "docs" / name).read_text(encoding="utf-8").split()) for name in names}
    assert not {name: words for name, words in lengths.items() if words > 2500}


def test_the_list_of_families_is_what_the_code_says():
    text = (PROJECT / "docs" / "models.md").read_text(encoding="utf-8")
    assert with_families(text) == text, "`make docs` writes it anew"


def test_the_list_of_corruptions_is_what_the_registry_says():
    text = (PROJECT / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert with_corruptions(text) == text, "`make docs` writes it anew"


def test_the_table_of_data_sets_is_what_the_registry_says():
    registry = load_registry(PROJECT / "datasets.yaml")
    text = (PROJECT / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert datasets_markdown(registry.values()) == text, "`make docs` writes it anew"
    assert not [name for name, spec in registry.items() if (f"| `{name}` " in text) == spec.synthetic]


def test_every_suite_and_profile_is_in_the_readme():
    text = (PROJECT / "README.md").read_text()
    assert not [
        name for name in [*suite_names(), *PROFILES] if f"`{name}`" not in text and f"profile {name}" not in text
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_a_page_names_exist(page):
    names = re.findall(r"`((?:benchmark|docs|tests|scripts|reports|pretrained)/[\w./-]+)`", page.read_text())
    generated = ("reports/runs", "pretrained/USFM_latest.pth")
    assert not [n for n in names if not n.startswith(generated) and not (PROJECT / n).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_that_a_page_shows_exist(page):
    root = get_command(app)
    for line in re.findall(r"^    (usfm-bench .+)$", page.read_text(), flags=re.MULTILINE):
        words = shlex.split(line.replace("DATA_ROOT", "data"))[1:]
        command = root
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts}
        assert not [word for word in words if word.startswith("--") and word not in known], line


def test_models_that_the_readme_names_exist():
    names = re.findall(r"`((?:usfm|unet)-[\w-]+)`", (PROJECT / "README.md").read_text())
    others = {"usfm-bench", *emulators()}
    assert not [name for name in names if name not in MODELS and name not in others]
