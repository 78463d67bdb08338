"""Subgroups: each number is that of its cases, gaps pay for the choice of the pair, and nothing names a patient."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from invented import invent_store
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.columns import column_of, parsed
from usfm_bench.reporting.figures.subgroups import subgroup_figures
from usfm_bench.reporting.subgroups import with_subgroups
from usfm_bench.specs.dataset import load_registry
from usfm_bench.stats.unpaired import unpaired

MODEL = "usfm-micro-scratch"


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_registry) -> Path:
    """A store of trials on `tiny`, `tiny-lesion`, and a registry entry with a table of the cases of `tiny-lesion`."""
    folder = tmp_path_factory.mktemp("subgroups")
    store = invent_store(folder, tiny_registry, datasets=("tiny-lesion", "tiny"), seeds=2)
    cases = sorted({c for d, r in store.finished("demo") for c in pd.read_parquet(d / "cases.parquet")["case_id"]})
    rows = [
        {
            "name": f"{case}.png",
            "patient": f"P{i}",
            "BIRADS": ["2", "4a", "not available", "4a"][i % 4],
            "Age": i + 20,
            "Few": "rare" if i == 0 else "often",
            "Doctor": f"Dr {i}",
        }
        for i, case in enumerate(cases)
    ]
    (folder / "own").mkdir()
    pd.DataFrame(rows).to_csv(folder / "own" / "table.csv", index=False)
    (folder / "registry.yaml").write_text(
        """
tiny-lesion:
  version: 1
  title: x
  organ: x
  tasks: [segmentation]
  layout: masks
  path: own
  options: {images: "{id}.png", label_from: {file: table.csv, id: name, patient: patient}}
tiny: {extends: tiny-lesion, tasks: [classification], options: {label_from: null}}
"""
    )
    return folder


@pytest.fixture(scope="module")
def registry(place):
    return load_registry(place / "registry.yaml")


@pytest.fixture(scope="module")
def report(place, registry):
    from usfm_bench.results.store import Store

    return with_subgroups(build_report(Store(place / "runs"), "demo"), ["size", "class", "birads"], registry, place)


def of(report, name, model=MODEL):
    return next(r for r in report.results if (r.first.spec.dataset.name, r.first.spec.model) == (name, model))


def test_each_number_is_that_of_its_cases_and_missing_ones_are_counted(report, place):
    results = of(report, "tiny-lesion")
    rows = {r.value: r for r in report.subgroups.rows if (r.model, r.column, r.metric) == (MODEL, "BIRADS", "DSC")}
    table = pd.read_csv(place / "own" / "table.csv", dtype=str).set_index("name")["BIRADS"]
    cases = results.cases[results.cases["lesion"]]
    value = (cases["case_id"].astype(str) + ".png").map(table)
    assert set(rows) == {"2", "4a"}
    for name, row in rows.items():
        assert row.mean == pytest.approx(cases["DSC"][value == name].mean())
        assert row.n_cases == (value == name).sum() / 2
    [gap] = [g for g in report.subgroups.gaps if (g.model, g.column, g.metric) == (MODEL, "BIRADS", "DSC")]
    assert gap.n_missing == ((results.case_table["case_id"].astype(str) + ".png").map(table) == "not available").sum()


def test_a_gap_is_that_of_the_two_and_pays_for_their_choice(report):
    results = of(report, "tiny-lesion", "unet-resnet18-scratch")
    gaps = {g.column: g for g in report.subgroups.gaps if (g.model, g.metric) == (results.first.spec.model, "DSC")}
    gap = gaps["class"]
    used = results.case_table["lesion"].to_numpy(bool)
    scores, labels = results.matrix("DSC")[:, used], results.case_table["class"].to_numpy()[used]
    parts = {v: scores[:, labels == v] for v in set(labels) if (labels == v).sum() >= 8}
    best, worst = (sort(parts, key=lambda v: parts[v].mean()) for sort in (max, min))
    pairs = len(parts) * (len(parts) - 1) // 2
    found = unpaired(parts[best], parts[worst])
    assert (gap.best, gap.worst) == (best, worst)
    assert gap.gap == pytest.approx(found.interval(1 - 0.05 / pairs), nan_ok=True)
    assert gap.p_value == pytest.approx(min(1, pairs * found.p_value()))
    tested = sorted(g.p_value for g in gaps.values() if g.p_value is not None)
    assert min(g.p_holm for g in gaps.values() if g.p_holm is not None) == pytest.approx(
        min(1, len(tested) * tested[0])
    )


def test_a_list_of_images_may_have_columns_of_its_own(place, report, tmp_path):
    results = of(report, "tiny-lesion")
    names = sorted(set(results.case_table["case_id"].astype(str)))
    table = pd.DataFrame(
        {"path": names, "label": "benign", "drawn_in_text": ["yes" if i % 3 else "no" for i in range(len(names))]}
    )
    (tmp_path / "images").mkdir()
    table.to_csv(tmp_path / "images" / "list.csv", index=False)
    (tmp_path / "registry.yaml").write_text(
        """
tiny-lesion:
  version: 1
  title: x
  organ: x
  tasks: [segmentation]
  layout: manifest
  path: images/list.csv
  classes: [benign]
  options: {columns: [drawn_in_text]}
"""
    )
    known = load_registry(tmp_path / "registry.yaml")
    found = column_of(results, "Drawn_in_text", known, tmp_path)
    assert found.order == ("no", "yes")
    wanted = dict(zip(table["path"], table["drawn_in_text"], strict=True))
    assert list(found.values) == [wanted[str(case)] for case in results.case_table["case_id"]]
    with pytest.raises(BenchError, match="columns of at most 20 values"):
        column_of(results, "path2", _renamed(known, tmp_path), tmp_path)


def _renamed(known, folder):
    """The same with a column that names every case."""
    path = folder / "images" / "list.csv"
    pd.read_csv(path).assign(path2=lambda t: t["path"]).to_csv(path, index=False)
    entry = known["tiny-lesion"]
    return known | {"tiny-lesion": entry.model_copy(update={"options": {"columns": ["drawn_in_text", "path2"]}})}


def test_too_few_have_a_mean_and_no_interval(report, place, registry):
    found = with_subgroups(report, ["Few"], registry, place).subgroups
    rows = {r.value: r for r in found.rows if (r.model, r.metric) == (MODEL, "DSC")}
    assert all(not row.too_few for name, row in rows.items() if name == "often")
    assert all((row.too_few, row.low) == (True, None) for name, row in rows.items() if name == "rare")
    assert {g.n_values for g in found.gaps if g.dataset == "tiny-lesion"} == {1}
    text = render([with_subgroups(report, ["size"], registry, place)], "markdown", ["subgroups"])
    assert "too few" in text


def test_sizes_are_fifths_of_the_lesions(report, registry, place):
    results = of(report, "tiny-lesion")
    column = column_of(results, "SIZE", registry, place)
    pixels = results.case_table["target_px"].to_numpy()
    counts = pd.Series(column.values).value_counts()
    assert len(column.order) == 5
    assert counts.max() - counts.min() <= 1
    assert sum(v is None for v in column.values) == (pixels == 0).sum()
    for value, n in zip(column.values, pixels, strict=True):
        if value is not None:
            low, high = value.removesuffix(" px").split(" to ")
            assert float(low) * 0.999 <= n <= float(high) * 1.001


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["10", "9", "NaN", "9"], ("9", "10")),
        (["b", "a", "", "Not available"], ("a", "b")),
        ([str(i) for i in range(10)], ("0 to 1.8", "1.8 to 3.6", "3.6 to 5.4", "5.4 to 7.2", "7.2 to 9")),
        ([None, "?"], ()),
    ],
)
def test_numbers_words_and_what_is_missing(texts, order):
    column = parsed("x", texts, "d")
    assert column.order == order
    assert {v for v in column.values if v} == set(order)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BIRDAS", ["no column 'BIRDAS'", "Did you mean 'BIRADS'?", "BIRADS, Age, Few, Doctor"]),
        ("patient", ["no column 'patient'", "ids and patients are not taken"]),
        ("name", ["no column 'name'"]),
        ("Doctor", ["so that it names cases or patients"]),
    ],
)
def test_what_is_no_column_is_said_and_identifiers_are_not_taken(report, place, registry, name, words):
    with pytest.raises(BenchError) as error:
        with_subgroups(report, [name], registry, place)
    assert all(each in str(error.value) for each in words)
    assert "P1" not in str(error.value)
    assert "Dr 1" not in str(error.value)


def test_the_command_shows_them_and_says_where_it_looked(place):
    line = ["report", "--suite", "demo", "--runs", place / "runs", "--registry", place / "registry.yaml"]
    more = ["--by", "class,BIRADS", "--sections", "subgroups", "--data-root"]
    result = CliRunner().invoke(app, list(map(str, [*line, *more, place])))
    assert result.exit_code == 0, result.output
    assert "Gaps between subgroups" in result.output
    assert "Left out: Dataset 'tiny' has no column 'BIRADS'" in result.output
    result = CliRunner().invoke(app, list(map(str, [*line, "--by", "BIRADS", "--data-root", place / "none"])))
    assert isinstance(result.exception, BenchError)
    assert "table.csv is not here" in str(result.exception)


def test_a_figure_has_a_panel_a_column(report):
    figures = {named.name: named for named in subgroup_figures(report, 180)}
    figure = figures["subgroups-tiny-lesion-DSC"].figure
    shown = [axes.get_title() for part in (figure, *figure.subfigs) for axes in part.axes if axes.get_visible()]
    assert sorted(set(shown) - {""}) == ["BIRADS", "class", "size"]


@pytest.mark.slow
def test_a_gap_between_alike_subgroups_is_claimed_in_at_most_one_of_twenty():
    rng, draws, claimed = np.random.default_rng(0), 2000, 0
    for _ in range(draws):
        scores = 0.7 + rng.normal(0, 0.03, (3, 1)) + rng.normal(0, 0.2, 100) + rng.normal(0, 0.05, (3, 100))
        parts = np.split(scores, 5, axis=1)
        means = [part.mean() for part in parts]
        p = unpaired(parts[int(np.argmax(means))], parts[int(np.argmin(means))]).p_value()
        claimed += 10 * p < 0.05
    assert claimed / draws <= 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5
