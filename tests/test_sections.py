"""The sections of a report: what is shown first, how they are chosen, and that writers know none of them."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from invented import invent_store
from usfm_bench.cli.app import app
from usfm_bench.core import words
from usfm_bench.core.errors import BenchError
from usfm_bench.core.pipe_table import Grid
from usfm_bench.data.transforms import Normalise
from usfm_bench.reporting import build_report, render, writers
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind, kinds, sections
from usfm_bench.reporting.sections.costs import cost_of
from usfm_bench.reporting.writers.html import page as page_module
from usfm_bench.reporting.writers.html import write_html
from usfm_bench.reporting.writers.terminal import draw
from usfm_bench.training.costs import network_costs

EXTRA = "what another package says"


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_registry):
    folder = tmp_path_factory.mktemp("sections")
    return invent_store(folder, tiny_registry, datasets=("tiny-lesion", "tiny", "tiny-clinical"), seeds=2)


@pytest.fixture(scope="module")
def report(store):
    return build_report(store, "demo")


@pytest.fixture
def extra(monkeypatch):
    """A section of another package."""
    monkeypatch.setattr(SECTIONS, "_entries", dict(SECTIONS._all()))

    def make(report):
        yield Section(title=EXTRA, grid=Grid(["Model", "Extra"], [["x", "42.5"]]), table="1", ident="extra")

    SECTIONS.register("extra")(SectionKind(name="extra", make=make, place="table", order=35))


def invoke(*arguments):
    return CliRunner().invoke(app, ["report", "--suite", "demo", *map(str, arguments)])


def test_a_report_is_read_from_the_top(report):
    lines = render([report], "markdown").splitlines()
    assert len(lines) <= 45
    assert lines[2].startswith("- **tiny-lesion (synthetic)**, 3 models, 24 test cases in 24 groups")
    assert re.search(r"DSC: \S+ has the best mean of 3 models, .*would be found with 80 % power\.$", lines[2])
    titles = [line for line in lines if line.startswith("**")]
    assert [title[:10] for title in titles] == ["**Table 1.", "**Table 2."]
    assert {len(lines) for lines in [render([report], "latex").split("\\begin{table}")]} == {3}


def test_all_shows_every_kind_once_in_reading_order(report):
    found = sections(report, ["all"])
    assert {s.name for s in found} == {kind.name for kind in kinds() if list(kind.make(report))}
    assert [s.place for s in found] == sorted((s.place for s in found), key=["top", "table", "end"].index)
    text = render([report], "markdown", ["all"])
    assert all(f"**{s.full_title}" in text for s in found if s.grid and "|" not in s.full_title)
    of_tables = [s.table for s in found if s.place == "table"]
    assert of_tables == sorted(of_tables)


def test_unknown_names_are_refused_all_at_once_with_the_nearest(report):
    with pytest.raises(BenchError, match=r"(?s)'cost'\. Did you mean 'costs'.*'rankngs'\. Did you mean 'rankings'"):
        sections(report, ["cost", "rankngs"])
    for arguments, said in (
        (("--sections", "cost"), "Did you mean 'costs'?"),
        (("--sections", "costs", "--format", "json"), "which has everything"),
        (("--sections", " , "), "`--sections all`"),
    ):
        assert said in str(invoke(*arguments).exception)


def test_a_section_of_another_package_stands_in_every_format(report, store, extra, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "plots_of", lambda report, store: iter(()))
    for form in ("markdown", "latex"):
        assert EXTRA not in render([report], form)
        assert EXTRA in render([report], form, ["extra"])
    assert EXTRA in {s["title"] for s in json.loads(render([report], "json"))["sections"]}
    assert EXTRA in drawn(report, 80, ["all"])
    assert "42.5" in write_html(store.root, ["demo"], tmp_path / "page").read_text(encoding="utf-8")


def test_no_writer_names_a_section():
    # The case browser writes cases and no section; its data have keys of the same words.
    for path in set(Path(writers.__file__).parent.rglob("*.py")) - set(Path(writers.__file__).parent.rglob("cases.py")):
        literals = set(re.findall(r'"([a-z-]+)"', path.read_text(encoding="utf-8")))
        # Every section has notes, which is also the name of one.
        assert not literals & {kind.name for kind in kinds()} - {"notes"}, path


def drawn(report, width, names=()):
    stream = io.StringIO()
    draw(report, Console(file=stream, width=width, highlight=False, markup=False, emoji=False), names)
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 80, 132, 250])
def test_tables_fit_a_terminal_and_lose_nothing(report, width):
    text = drawn(report, width, ["all"])
    assert max(map(cell_len, text.splitlines())) <= width
    shown = set(re.findall(r"[\d.]+", text))
    for section in sections(report, ["all"]):
        numbers = {n for line in (section.grid.body if section.grid else []) for c in line[2:] for n in c.split(" [")}
        assert {n for n in numbers if re.fullmatch(r"\d+\.\d", n)} <= shown


def test_a_terminal_gets_tables_and_a_pipe_markdown(store, monkeypatch):
    assert invoke("--runs", store.root).output.startswith("# demo, profile smoke\n")
    monkeypatch.setattr("usfm_bench.cli.report.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert "| Dataset" not in invoke("--runs", store.root).output
    assert "| Dataset" in invoke("--runs", store.root, "--format", "markdown").output


def test_costs_are_those_of_the_records_and_old_ones_have_none(report):
    results = report.results[0]
    assert (cost_of(results)["gflops"], cost_of(results)["trained_parameters"]) == (None, None)
    known = {"trained_parameters": 250_000, "gflops": 0.5, "latency_ms": 12.5}
    records = [
        record.model_copy(update={"cost": record.cost.model_copy(update=known | {"latency_ms": 10.0 + 5 * i})})
        for i, record in enumerate(results.records)
    ]
    changed = replace(report, results=(replace(results, records=tuple(records)), *report.results[1:]))
    grid = next(s.grid for s in sections(changed, ["costs"]) if s.table == results.first.spec.table)
    shown = dict(zip(grid.header, grid.body[0], strict=True))
    assert [shown[n] for n in ("Trained (M)", "GFLOPs an image", "Latency (ms)")] == ["0.25", "0.5", "12.5"]
    assert grid.body[1][3:5] == ["n/a", "n/a"]
    costs = json.loads(render([changed], "json"))["costs"]
    assert (costs[0]["trained_parameters"], costs[1]["trained_parameters"]) == (250_000, None)


def test_what_a_network_costs_is_counted_and_draws_no_random_number():
    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.drop = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(self.conv(x))

    model = Toy()
    model.register_parameter("fixed", nn.Parameter(torch.zeros(5), requires_grad=False))
    fabric = SimpleNamespace(device=torch.device("cpu"), autocast=lambda: torch.no_grad())
    state = torch.get_rng_state()
    found = network_costs(model, Normalise((0, 0, 0), (1, 1, 1)), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), fabric)
    assert torch.equal(torch.get_rng_state(), state)
    assert (found["parameters"], found["trained_parameters"]) == (3 * 4 * 9 + 5, 3 * 4 * 9)
    assert found["gflops"] == pytest.approx(2 * 8 * 8 * 3 * 4 * 9 / 1e9)  # a multiply-add is two
    assert 0 < found["latency_ms"] < 1000


def test_a_network_that_cannot_be_counted_has_no_gflops(monkeypatch):
    def refuse(*args, **kwargs):
        raise NotImplementedError

    monkeypatch.setattr("usfm_bench.training.costs.FlopCounterMode.get_total_flops", refuse)
    fabric = SimpleNamespace(device=torch.device("cpu"), autocast=lambda: torch.no_grad())
    images = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert network_costs(nn.Flatten(), Normalise((0, 0, 0), (1, 1, 1)), images, fabric)["gflops"] is None


def test_rows_of_structures_stand_in_a_table_of_their_own(report):
    rows = tuple(
        row
        for each in report.rows
        for row in (
            (each, replace(each, label="wall", standing=None))
            if (each.metric, each.source, each.table) == ("DSC", "measured", "1")
            else (each,)
        )
    )
    [section, *_] = sections(replace(report, rows=rows), ["classes"])
    assert (section.title, section.grid.header) == (
        "By structure",
        ["Dataset", "Model", "Structure", "Cases", "Missed", "False alarms", "DSC (%)"],
    )
    assert {line[2] for line in section.grid.body} == {"wall"}
    assert len(section.grid.body) == 3


def test_numbers_as_text():
    assert [words.probability(x) for x in (0.0, 0.5, 1.0, None)] == ["< 0.1 %", "50.0 %", "> 99.9 %", "n/a"]
    assert [words.p_value(x) for x in (0.0004, 0.0356, None)] == ["< 0.001", "0.036", "n/a"]
    assert words.percent(-0.003) == "0 %"
    assert words.difference(0.087, "fraction") == "8.7 points"
    assert words.with_interval(-0.01, -0.02, 0.0, "fraction", signed=True) == "-1.0 [-2.0, +0.0]"
    assert [words.quantity(x) for x in (5730.4, 43.21, 0.0213, 0.0, None)] == ["5730", "43.2", "0.0213", "0", "n/a"]
    assert words.in_a_row(["a", "b", "c"]) == "a, b and c"
    assert [words.duration(s) for s in (34, 720, 12240, None)] == ["34 s", "12 min", "3.4 h", "n/a"]
