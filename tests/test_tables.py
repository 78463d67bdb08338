"""Tables row by row, and names that are the same to a reader: nothing of a table goes missing in silence."""

import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from test_readers import SHAPE, entry, open_list, picture, save
from usfm_bench.cli.app import app
from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.group_words import groups_in_words, stated_groups
from usfm_bench.data.patients import patient_faults, patient_key, patient_notes
from usfm_bench.data.readers.cells import read_table
from usfm_bench.data.sample import Case
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.facts import NOT_RECORDED
from usfm_bench.reporting.sections.summary import summary
from usfm_bench.specs.dataset import DatasetSpec, load_registry

REFUSED = {
    "R writes row names": (
        "path,label\nP00,im/0.png,benign\nP00,im/1.png,benign\n",
        "every row has 3 fields.*'P00' in line 2",
    ),
    "an empty name": (",path,label\nP00,0.png,a\nP00,1.png,a\n", "column 1 has no name and holds 'P00' in line 2"),
    "an empty name in quotes": ('"","path"\nP0,0.png\nP1,1.png\n', "column 1 has no name"),
    "an empty name at the end": (
        "path,label,\n0.png,a,\n1.png,a,P7\n",
        "column 3 has no name and holds 'P7' in line 3",
    ),
    "a name of spaces": ("path, \t,label\n0.png,P1,a\n", "column 2 has no name"),
    "a long row": ("path,label\n0.png,a\n1.png,a,P1\n", "line 3: has 3 fields, the line of names has 2"),
    "a short row": ("path,label,patient\n0.png,a,P1\n1.png,a\n", "line 3: has 2 fields, the line of names has 3"),
    "a decimal comma": ("path,spacing_y,spacing_x\n0.png,0,1,0,1\n1.png,0.1,0.1\n", "line 2: has 5 fields"),
    "a row after a cell of two lines": ('path,label\n"a\nb",x\n1.png\n', "line 4: has 1 fields"),
    "a name twice": ("path,label,label\n0.png,a,b\n", "column 'label' comes twice"),
    "an open quote": ('path,label\n"0.png,a\n1.png,b\n', "line 2: unexpected end of data"),
    "mixed separators": ("path;label,patient,side\n0.png;a,P1,l\n", "unknown|missing"),
    "Latin-1": (
        "path,label\n0.png,gutartig\nü.png,b\n".encode("latin-1"),
        "line 3 is not UTF-8. Save it as CSV in UTF-8",
    ),
    "UTF-16 without a mark": ("path,label\n0.png,a\n".encode("utf-16-le"), "holds NUL characters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_would_lose_a_value_is_refused_by_its_row(tmp_path, case):
    text, message = REFUSED[case]
    for i in range(2):
        save(tmp_path / f"{i}.png", picture(i))
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        open_dataset(entry("manifest", "list.csv"), tmp_path)


ROWS = [("0.png", "a", "P1"), ("1.png", "b", "P1"), ("2.png", "a", "P2")]
HEAD = ("path", "label", "patient")


def lines(separator: str = ",", end: str = "\n", quote: str = "", tail: str = "") -> str:
    return "".join(separator.join(f"{quote}{cell}{quote}" for cell in row) + tail + end for row in (HEAD, *ROWS))


def numbered(first: list) -> Iterator[tuple]:
    return zip(first, (HEAD, *ROWS), strict=True)


UNDERSTOOD = {
    "commas": lines(),
    "semicolons": lines(";"),
    "tabs": lines("\t"),
    "quotes": lines(quote='"'),
    "spaces after commas": lines(", "),
    "separators at the ends": lines(tail=",,"),
    "blank lines": "\n" + lines(end="\n\n") + ",,\n",
    "CR LF": lines(end="\r\n"),
    "CR": lines(end="\r"),
    "a byte order mark": "\ufeff" + lines(),
    "UTF-16": lines().encode("utf-16"),
    "numbers of rows, as pandas": "".join(
        f"{i},{','.join(r)}\n" for i, r in zip(["", 0, 1, 2], [HEAD, *ROWS], strict=True)
    ),
    "numbers of rows, as R": '"path","label","patient"\n'
    + "".join(f'"{i}",{",".join(r)}\n' for i, r in enumerate(ROWS, 1)),
}


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_tables_as_programs_write_them_read_the_same(tmp_path, case):
    text = UNDERSTOOD[case]
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_table(tmp_path / "list.csv", separator=None)
    assert list(table.columns) == list(HEAD)
    assert [tuple(row) for row in table.to_numpy()] == ROWS


def test_many_faulty_rows_are_capped(tmp_path):
    (tmp_path / "list.csv").write_text("path,label\n0.png,a\n" + "1.png\n" * 530)
    with pytest.raises(DataError) as error:
        read_table(tmp_path / "list.csv")
    assert str(error.value).count("has 1 fields") == 5
    assert "... and 525 more." in str(error.value)


@given(st.lists(st.lists(st.text("ab1 ,;\"'\n", max_size=5), min_size=3, max_size=3), min_size=1, max_size=5))
def test_what_csv_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    pd.DataFrame(rows, columns=["x", "y", "z"]).to_csv(path, index=False)
    wanted = [[cell.strip() for cell in row] for row in rows]
    assert read_table(path).to_numpy().tolist() == [row for row in wanted if any(row)]


def test_the_command_refuses_row_names_with_what_to_do(tmp_path):
    save(tmp_path / "im" / "0.png", picture(0))
    (tmp_path / "list.csv").write_text("path,label\nP00,im/0.png,benign\n")
    (tmp_path / "sets.yaml").write_text(
        "mine: {version: 1, title: x, tasks: [classification], organ: x, layout: manifest, path: list.csv}\n"
    )
    how = ["--data-root", str(tmp_path), "--registry", str(tmp_path / "sets.yaml")]
    done = CliRunner().invoke(app, ["data", "verify", "mine", *how])
    assert done.exit_code == 2
    assert "Name it in the first line (such as `patient`), or delete it." in done.output


# ---- Parquet ---------------------------------------------------------------------------------------------------------


def write_parquet(root: Path, **columns) -> None:
    pq.write_table(pa.table(columns), root / "list.parquet")


def test_null_masks_lists_of_masks_and_dictionaries_of_a_parquet_file_are_read(tmp_path):
    paths = [save(tmp_path / f"{i}.png", picture(i)).name for i in range(3)]
    for i in range(2):
        mask = np.zeros(SHAPE, np.uint8)
        mask[i, i] = 255
        save(tmp_path / f"mask{i}.png", mask)
    masks = pa.array([["mask0.png", "mask1.png"], None, []], pa.list_(pa.string()))
    label = pa.array(["a", "b", "a"]).dictionary_encode()
    write_parquet(tmp_path, path=paths, mask=masks, label=label, patient=pa.array([7, 8, 7]))
    how = {"tasks": ("segmentation",), "options": {"no_mask": "empty"}}
    found = open_dataset(entry("manifest", "list.parquet", **how), tmp_path).samples
    assert [int(s.mask.sum()) for s in found] == [2, 0, 0]
    assert [s.case.label for s in found] == ["a", "b", "a"]
    assert found[0].group_id == found[2].group_id != found[1].group_id
    faults = verify_dataset(entry("manifest", "list.parquet", tasks=("segmentation",)), tmp_path).faults
    assert len(faults) == 2


def test_a_column_that_pandas_keeps_as_its_index_is_read(tmp_path):
    rows = [{"path": save(tmp_path / f"{i}.png", picture(i)).name, "label": "a", "patient": "P"} for i in range(2)]
    pd.DataFrame(rows).set_index("patient").to_parquet(tmp_path / "list.parquet")
    assert len(set(open_dataset(entry("manifest", "list.parquet"), tmp_path).groups)) == 1
    pd.DataFrame(rows, index=["P7", "P8"]).drop(columns="patient").to_parquet(tmp_path / "list.parquet")
    with pytest.raises(DataError, match="column 3 has no name and holds 'P7'"):
        open_dataset(entry("manifest", "list.parquet"), tmp_path)


# ---- names -----------------------------------------------------------------------------------------------------------

NFC, NFD = "Müller", unicodedata.normalize("NFD", "Müller")
ONE = [
    *((NFC, NFD), ("P01", " P01"), ("P01", "P01\u00a0"), ("P01", "P\u200b01"), ("A  B", "A B"), ("7", "7.0")),
    *(("P01", "p01 "), ("P01", "\uff3001"), ("P 01", "P01"), ("12", "\uff11\uff12"), ("Straße", "STRASSE")),
]


@pytest.mark.parametrize(("one", "other"), ONE)
def test_one_patient_written_in_two_ways_is_one_group(tmp_path, one, other):
    rows = [
        {"path": save(tmp_path / f"{i}.png", picture(i)).name, "label": "a", "patient": patient}
        for i, patient in enumerate([one, other, "someone else"])
    ]
    data = open_list(tmp_path, rows)
    assert data.groups[0] == data.groups[1] != data.groups[2]


def cases(*patients: str | None) -> list[Case]:
    return [Case(f"{i}.png", patient=patient) for i, patient in enumerate(patients)]


def test_what_differs_in_case_or_zeros_alone_is_said():
    assert patient_notes(cases("P01", "p01", "Q")) == [
        "taken for one patient, since case, spaces or a '.0' alone differ: 'P01' and 'p01'"
    ]
    assert patient_notes(cases("007", "7")) == [
        "taken for several patients; write them alike if they are one: '007' and '7'"
    ]
    assert patient_notes(cases(NFC, NFD, "P01", "P01\u00a0")) == []
    assert "the patient '0' has 5 images" in patient_notes(cases(*"00000", "1", "2"))[0]
    assert patient_notes(cases("0", "0", "1", "1", "2")) == []


@pytest.mark.parametrize("nobody", ["NA", "nan", "N/A", "unknown", "None", "?", "-", "Anonymous", "n\u200ba"])
def test_nobody_is_no_patient(tmp_path, nobody):
    assert patient_key(nobody) is None
    rows = [
        {"path": save(tmp_path / f"{i}.png", picture(i)).name, "label": "a", "patient": patient}
        for i, patient in enumerate(["P1", nobody, nobody])
    ]
    with pytest.raises(DataError, match=r"2 cases have the patient '.*', which is nobody: 1\.png, 2\.png\."):
        open_list(tmp_path, rows)
    left_out = open_list(tmp_path, rows, exclude=dict.fromkeys(("1.png", "2.png"), "nobody knows whose"))
    assert len(left_out) == 1
    unknown = open_list(tmp_path, [row | {"patient": nobody} for row in rows])
    assert len(set(unknown.groups)) == 3  # not one patient of three images
    assert any("no patients are known" in note for note in unknown.notes)
    assert unknown.grouped_by == "images"
    assert patient_faults(cases("P1", None)) == []  # readers name those themselves


@pytest.mark.parametrize(
    ("on_disk", "in_table"),
    [(f"{NFD}.png", f"{NFC}.png"), ("im/A.PNG", "im/a.png"), ("a b.png", "a\u00a0b.png"), ("a.png", "a.png\u200b")],
)
def test_files_that_a_table_writes_otherwise_are_found(tmp_path, on_disk, in_table):
    save(tmp_path / on_disk, picture(0))
    (sample,) = open_list(tmp_path, [{"path": in_table, "label": "a"}]).samples
    np.testing.assert_array_equal(sample.image, picture(0))
    table = tmp_path / "labels.csv"
    table.write_text(f"file,kind\n{in_table.rpartition('/')[2]},b\n")
    (tmp_path / "list.csv").unlink()
    options = {"images": "{id}.*", "label_from": {"file": "labels.csv", "id": "file", "label": "kind"}}
    (sample,) = open_dataset(entry("masks", "", options=options), tmp_path).samples
    assert sample.case.label == "b"


def test_a_file_that_two_names_could_mean_is_not_guessed(tmp_path):
    for i, name in enumerate(("a b.png", "ab.png")):
        save(tmp_path / name, picture(i))
    with pytest.raises(DataError, match=r"path 'A B\.png' does not exist\. Did you mean"):
        open_list(tmp_path, [{"path": "A B.png", "label": "a"}])
    save(tmp_path / "c.png", picture(3))
    rows = [{"path": "c.png", "label": "a"}, {"path": "./c.png\u200b", "label": "a"}]
    with pytest.raises(DataError, match="listed twice"):
        open_list(tmp_path, rows)


def test_a_label_table_takes_semicolons_as_they_come(tmp_path):
    save(tmp_path / "1.png", picture(1))
    (tmp_path / "t.csv").write_text("file;kind;who;mm\n1;a;P1;0,1\n")
    table = {"file": "t.csv", "id": "file", "label": "kind", "patient": "who"}
    spec = entry("masks", "", options={"images": "{id}.png", "label_from": table})
    assert open_dataset(spec, tmp_path).samples[0].case.patient == "P1"
    with pytest.raises(DataError, match="'0,1' is no distance between pixels; write it with a point"):
        open_dataset(replace_options(spec, table | {"spacing": "mm"}), tmp_path)
    with pytest.raises(DataError, match="look parted by ';': say so with `separator`"):
        open_dataset(replace_options(spec, table | {"separator": "|"}), tmp_path)


def replace_options(spec: DatasetSpec, table: dict) -> DatasetSpec:
    return spec.model_copy(update={"options": spec.options | {"label_from": table}})


def test_names_of_rows_are_refused_where_a_table_of_labels_names_no_patient(tmp_path):
    save(tmp_path / "1.png", picture(1))
    (tmp_path / "t.csv").write_text('"","file","kind"\n"P1","1","a"\n')
    table = {"file": "t.csv", "id": "file", "label": "kind"}
    with pytest.raises(DataError, match="column 1 has no name and holds 'P1'"):
        open_dataset(entry("masks", "", options={"images": "{id}.png", "label_from": table}), tmp_path)


# ---- what a group is -------------------------------------------------------------------------------------------------


def test_every_shipped_entry_with_data_says_what_its_groups_are():
    for spec in load_registry().values():
        if not spec.synthetic:
            assert spec.grouped_by is not None, spec.name
        assert stated_groups(spec)


def test_words_of_groups_name_published_patients(tmp_path):
    rows = [
        {"path": save(tmp_path / f"{i}.png", picture(i)).name, "label": "a", "patient": f"r{i // 2}"} for i in range(6)
    ]
    data = open_list(tmp_path, rows)
    assert (data.grouped_by, data.groups_in_words) == ("patients", "3 patients")
    data = open_list(tmp_path, rows, grouped_by="recordings", n_patients=2, groups_note="left and right")
    assert data.groups_in_words == (
        "3 recordings of 2 published patients; which share a patient is not known; left and right"
    )
    for row in rows:
        del row["patient"]
    data = open_list(tmp_path, rows, grouped_by="patients")
    assert data.grouped_by == "images"  # whatever the entry hopes for
    again = replace(data, spec=data.spec.model_copy(update={"n_images": 6, "n_patients": 6}))
    assert groups_in_words("images", again.spec, again.samples).startswith("6 images, one a patient as published")
    assert isinstance(again, Dataset)


def test_fields_about_groups_change_no_settings_of_trials():
    spec = load_registry()["busi"]
    bare = spec.model_copy(update={"grouped_by": None})
    assert "grouped_by" not in bare.model_dump()
    assert "groups_note" not in bare.model_dump()


def test_tables_of_every_format_say_what_a_group_is_also_where_old_records_do_not(make_store):
    store = make_store(datasets=["tiny"], models=["timm:resnet18@scratch"], seeds=1)
    said = "tiny: 36 simulated images"
    report = build_report(store, "demo")
    for form in ("markdown", "latex", "json"):
        assert said in render([report], form)
    assert set(pd.read_csv(io.StringIO(render([report], "csv")))["grouped_by"].dropna()) == {"simulated"}
    assert "36 test cases in 36 groups (simulated)" in next(summary(report)).caption
    for path in store.root.rglob("record.json"):
        content = json.loads(path.read_text())
        del content["grouped_by"], content["groups"]
        path.write_text(json.dumps(content))
    old = build_report(store, "demo")
    assert f"tiny: {NOT_RECORDED}" in render([old], "markdown")
    assert {row.grouped_by for row in old.rows} == {None}


def test_the_commands_say_what_a_group_is(tmp_path):
    shown = CliRunner().invoke(app, ["data", "show", "ccaui"]).output
    assert "recordings; which share a patient is not published" in shown
    for i in range(2):
        save(tmp_path / "mine" / "a" / f"{i}.png", picture(i))
    spec = entry("imagefolder", "mine", tasks=("classification",))
    assert verify_dataset(spec, tmp_path).facts["a group is"] == (
        "2 groups of equal pixels among 2 images; which share a patient is not known"
    )
