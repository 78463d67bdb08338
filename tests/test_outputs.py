"""Text that a user names, placed in another language: LaTeX, Markdown, CSV, a file's name, a terminal, a figure."""

import io
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib import font_manager
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from typer.testing import CliRunner

from invented import invent_store
from usfm_bench.cli import app as cli
from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import TextFormat
from usfm_bench.cli.output import _coloured, console, plain_streams
from usfm_bench.core.csv_cells import guarded, guarded_frame, unguarded
from usfm_bench.core.errors import BenchError
from usfm_bench.core.file_names import encode_name
from usfm_bench.core.files import write_text
from usfm_bench.core.pipe_table import Grid, bullet, pipe_table, printable
from usfm_bench.core.validation import in_words
from usfm_bench.data.audit.verify import Report
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.figures import draw_all, fonts, write_figures
from usfm_bench.reporting.figures.draw import rendered
from usfm_bench.reporting.figures.style import style
from usfm_bench.reporting.sections.base import Section
from usfm_bench.reporting.writers.json import dumped
from usfm_bench.reporting.writers.latex import _table, escaped

HOSTILE = (
    *("<5 mm", "5 % & more", "{}", "{0!r}", "%s %(x)s", "$a_b^c$", "#1 ~x~", "\\input{x}", "a|b", "[4]", "*x*", "- x"),
    *("a--b", "`x`", "''", '"q"', "<<x>>", "a\nb", "[red]x[/red]", "\\", "__init__", "~~x~~", "# x", "1. x", "[x] y"),
    *("<b>x</b>", "&lt;", "![x](y)", "=1+1", "@SUM(1)", ":smile:", "é µ ± × ²", "x\u202ey", "良性", "a\x1b[31mb", "-1"),
)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.sampled_from(HOSTILE)
FEW = settings(max_examples=60, deadline=None)


# ---- LaTeX

COMMANDS = {
    **{"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">"},
    **{"textbar": "|", "textasciigrave": "`"},
}
SIGNS = {"$\\pm$": "±", "$\\times$": "×", "$^2$": "²", "$\\leq$": "≤", "$\\geq$": "≥"}


def typeset(tex):
    """What LaTeX prints for what `escaped` makes; a special character outside of that is an error."""
    token = re.compile(r"(\$[^$]+\$)|\\(text[a-z]+)\{\}|\\string(\")|\\([&%$#_{}])|([-,'])\{\}|([^\\&%$#_{}~^<>|\"`])")
    found, place = [], 0
    while place < len(tex):
        match = token.match(tex, place)
        assert match, f"{tex[place:]!r} is not text"
        sign, command, quote, special, parted, plain = match.groups()
        found.append(SIGNS.get(sign) or COMMANDS.get(command) or quote or special or parted or plain)
        place = match.end()
    return "".join(found)


@FEW
@given(texts)
def test_latex_prints_a_name_as_it_is(name):
    assert typeset(escaped(name)) == printable(name)
    assert not re.search(r"--|,,|''", escaped(name))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.text() | st.integers()
CONTENT = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner))


@settings(deadline=None)
@given(CONTENT)
def test_json_is_written_as_the_library_indents_it(content):
    assert dumped(content) == json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def test_a_class_that_looks_like_a_format_string_or_an_option_stands_in_headings_and_cells():
    tex = _table(
        Section(title="{x}", grid=Grid(["F1 of <5 mm (%)", "{0}"], [["[4]", "%s"], ["*", "{}"]])), "tab:<5 mm", "{}"
    )
    assert "F1 of \\textless{}5 mm (\\%) & \\{0\\} \\\\" in tex
    assert "\n{}[4] & \\%s \\\\\n{}* & \\{\\} \\\\\n" in tex
    empty = Section(title="", grid=Grid(["a"], []))
    labels = [re.search(r"\\label{(.*)}", _table(empty, name))[1] for name in ("tab:a b", "tab:a_b")]
    assert labels[0] != labels[1]
    assert all(re.fullmatch(r"[A-Za-z0-9:.-]+", label) for label in labels)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_compiles_hostile_names(tmp_path):
    names = [name for name in HOSTILE if name.isascii()]
    section = Section(title=" ".join(names), grid=Grid(names, [names[::-1]]))
    table = _table(section, "tab:" + "".join(names), " ".join(names))
    packages = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,graphicx}"
    (tmp_path / "t.tex").write_text(f"{packages}\\begin{{document}}{table}\\end{{document}}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-draftmode", "t.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")


# ---- Markdown


def shown(markdown):
    """The text of what a browser would show, without tags; markup of any kind but tables and lists is an error."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    kinds = {token.type for token in tokens} | {child.type for t in tokens for child in t.children or ()}
    usual = re.compile(
        r"(table|thead|tbody|tr|th|td|bullet_list|list_item|paragraph)_(open|close)|inline|text|text_special"
    )
    assert not [kind for kind in kinds if not usual.fullmatch(kind)]
    return ["".join(c.content for c in t.children or ()) for t in tokens if t.type == "inline"]


names_without_code = texts.filter(lambda name: "`" not in name and printable(name).strip())


@FEW
@given(names_without_code)
@example("__init__")
@example("[x] y")
@example("1. x")
@example("x_")
def test_markdown_shows_a_name_as_it_is_in_tables_and_lists(name):
    plain = " ".join(printable(name).split())
    for markdown in (bullet(name), "\n".join(pipe_table(["a"], [[name]], {"a"}))):
        assert " ".join(shown(markdown)[-1].split()) == plain


# ---- CSV


@FEW
@given(texts | st.floats(allow_nan=False) | st.integers())
def test_no_text_cell_begins_as_a_formula_and_nothing_else_changes(value):
    found = guarded(value)
    if not isinstance(value, str):
        assert found is value
    elif found != value:
        assert found == f"'{value}"
    else:
        number = re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?|[+-]?(inf|nan)", value)
        assert number or not value.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))


@FEW
@given(texts)
def test_a_guarded_cell_is_read_as_it_was(text):
    found = guarded(text)
    assert unguarded(found) == text or (text.startswith("'") and found == text)


def test_numbers_and_names_in_a_csv():
    frame = pd.DataFrame({"=class": ["=1+1", "-1.2", "\tx", "benign"], "mean": [-1.2, 0.5, float("nan"), 1.0]})
    frame = pd.concat([frame, frame])  # rows of several reports share an index
    text = guarded_frame(frame).to_csv(index=False, lineterminator="\n")
    assert text.splitlines()[:3] == ["'=class,mean", "'=1+1,-1.2", "-1.2,0.5"]
    read = pd.read_csv(io.StringIO(text))
    assert read["'=class"].tolist() == ["'=1+1", "-1.2", "'\tx", "benign"] * 2
    assert read["mean"].dtype == float


# ---- names of files


@FEW
@given(st.text(max_size=300), st.text(max_size=300))
@example("甲" * 100, "甲" * 100 + "乙")
@example("a" * 255, "a" * 256)
def test_a_name_is_a_file_that_every_system_takes_and_no_other_name_has(first, second):
    first, second = (name.encode(errors="replace").decode() for name in (first, second))
    for name in (first, second):
        assert len(encode_name(name).encode()) <= 255
        assert re.fullmatch(r"[A-Za-z0-9._%~-]*", encode_name(name))
    assert (encode_name(first) == encode_name(second)) == (first == second)


def test_text_files_are_utf8_whatever_a_file_name_has(tmp_path):
    write_text(tmp_path / "x.json", json.dumps(["良", "\udcff"], ensure_ascii=False))
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == ["良", "\udcff"]
    assert encode_name("\udcff") == "%ED%B3%BF"


def test_names_that_had_room_before_keep_their_folder():
    assert encode_name("a" * 255) == "a" * 255
    assert encode_name("甲" * 28) == "%E7%94%B2" * 28  # 252 bytes


# ---- terminals


class Unsuited(io.TextIOWrapper):
    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding)


def written(monkeypatch, capsys, encoding, command, expected):
    """What a command writes to a stdout and a stderr of an encoding, which can be read in that encoding."""
    with capsys.disabled():
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Unsuited(encoding))
        monkeypatch.setattr(sys, "argv", ["usfm-bench", *command])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert (ended.value.code or 0) == expected
        sys.stdout.flush()
        sys.stderr.flush()
        return [stream.buffer.getvalue().decode(encoding) for stream in (sys.stdout, sys.stderr)]


COMMANDS_WITH_HELP = (
    "",
    "run",
    "pretrain",
    "report",
    "score",
    "baseline",
    "check",
    "claims",
    "data verify",
    "data add",
)


@pytest.mark.parametrize("command", COMMANDS_WITH_HELP)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_help_can_be_shown_in_any_encoding(monkeypatch, capsys, command, encoding):
    out, _ = written(monkeypatch, capsys, encoding, [*command.split(), "--help"], 0)
    assert "Usage:" in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_lists_and_errors_can_be_shown_in_any_encoding(monkeypatch, capsys, encoding):
    out, _ = written(monkeypatch, capsys, encoding, ["score", "--list"], 0)
    assert "hd95.pooled.native.px@1" in out
    _, err = written(monkeypatch, capsys, encoding, ["data", "show", "良性 – ± ×"], 2)
    dash, sign, times = "–±×" if encoding == "cp1252" else ("-", "+/-", "x")
    assert f"Unknown dataset '\\u826f\\u6027 {dash} {sign} {times}'" in err


def test_utf8_is_written_as_it_is_but_for_a_file_name_that_is_none(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Unsuited("utf-8"))
    plain_streams()
    sys.stdout.write("良性 ± \udcff")
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue().decode() == "良性 ± \\udcff"


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({}, None),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, None),
        ({"FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_as_the_environment_asks(monkeypatch, set_to, expected):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    assert _coloured() is expected


def test_nothing_that_a_file_is_called_commands_the_terminal(monkeypatch, capsys, tmp_path):
    evil = "a\x1b[2Jb\x07\u202e"

    def fail():
        raise BenchError(f"{evil}: no image.\nsecond")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    print_facts({"name": evil, "classes": [evil], "by class": {evil: 1}}, TextFormat.text)
    out, err = capsys.readouterr()
    assert err == "error: a [2Jb  : no image.\nsecond\n"
    assert out.count("a [2Jb") == 3
    assert not set(out) & {"\x1b", "\x07", "\u202e"}


def test_no_colour_of_progress_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert console().no_color
    assert not console()._emoji  # a name such as a:smile:b is no picture


def test_colours_in_a_file_are_no_bars_in_it(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert console().is_terminal
    assert not console().is_interactive


# ---- long lists


def test_a_message_of_many_lines_is_cut_short_and_says_where_all_are(monkeypatch, capsys):
    def fail():
        raise BenchError("\n".join(f"fault {i}" for i in range(546)))

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[0], lines[19]) == (21, "error: fault 0", "fault 19")
    assert lines[20] == "and 526 more; of a data set, `usfm-bench data verify NAME --format json` lists all"


def test_verify_shows_the_first_faults_and_json_all(monkeypatch):
    found = Report({"images": 1, "notes": [f"note {i}" for i in range(30)]}, [f"fault {i}" for i in range(546)])
    monkeypatch.setattr("usfm_bench.data.audit.verify.verify_dataset", lambda *_: found)
    text = CliRunner().invoke(cli.app, ["data", "verify", "busi"])
    assert text.exit_code == 2
    assert "note 19 and 10 more" in text.stdout
    assert text.stdout.endswith("546 faults.\n")
    assert text.stderr.count("fault ") == 20
    assert "and 526 more; --format json has all" in text.stderr
    whole = CliRunner().invoke(cli.app, ["data", "verify", "busi", "--format", "json"])
    assert whole.stdout.count('"fault ') == 546


# ---- settings


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    equals: tuple[int, ...] = Field(min_length=1)


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str = ""
    size: int = Field(default=1, ge=1, lt=9)
    share: float = Field(default=0.5, gt=0, le=1)
    kind: Literal["holdout", "kfold"] = "holdout"
    inner: Inner | None = None
    values: int | Literal["two", "nonzero"] | Inner = 1
    on: bool = True
    files: tuple[str, ...] = ()
    table: dict[str, int] = Field(default_factory=dict)
    place: Path = Path()

    @field_validator("title")
    @classmethod
    def _short(cls, title):
        if len(title) > 20:
            raise ValueError("at most 20 letters, please")
        return title


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tilte": "x"}, "f.yaml: tilte: unknown key. Did you mean 'title'?"),
        ({"inner": {"equal": [1]}}, "f.yaml: inner.equals: is missing"),
        ({"inner": {"equals": [1], "equal": 2}}, "f.yaml: inner.equal: unknown key. Did you mean 'equals'?"),
        ({"size": "x"}, "f.yaml: size: expected a whole number, not 'x'"),
        ({"size": 0}, "f.yaml: size: must be at least 1, not 0"),
        ({"size": 9}, "f.yaml: size: must be below 9, not 9"),
        ({"share": 0}, "f.yaml: share: must be above 0, not 0"),
        ({"share": 2}, "f.yaml: share: must be at most 1, not 2"),
        ({"kind": "kfolds"}, "f.yaml: kind: expected 'holdout' or 'kfold', not 'kfolds'. Did you mean 'kfold'?"),
        ({"title": 3}, "f.yaml: title: expected text (in quotes, where it could be a number), not 3"),
        ({"title": "x" * 21}, "f.yaml: title: at most 20 letters, please"),
        ({"on": "maybe"}, "f.yaml: on: expected true or false, not 'maybe'"),
        ({"files": "x"}, "f.yaml: files: expected a list, not 'x'"),
        ({"files": ["x", 2]}, "f.yaml: files.1: expected text (in quotes, where it could be a number), not 2"),
        ({"table": []}, "f.yaml: table: expected a mapping of keys to values, not []"),
        ({"table": {"a": "x"}}, "f.yaml: table.a: expected a whole number, not 'x'"),
        ({"inner": {"equals": []}}, "f.yaml: inner.equals: the number of entries must be at least 1, not []"),
        ([], "f.yaml: expected a mapping of keys to values, not []"),
    ],
)
def test_faults_of_settings_are_in_our_words(values, expected):
    with pytest.raises(ValidationError) as error:
        Settings.model_validate(values)
    assert in_words(error.value, Settings, values, "f.yaml")[0] == expected


def test_readings_of_one_value_are_one_fault():
    with pytest.raises(ValidationError) as error:
        Settings.model_validate({"values": "half"})
    [line] = in_words(error.value, Settings, {"values": "half"}, "f.yaml")
    assert line.startswith("f.yaml: values: expected a whole number, not 'half'; or expected 'two' or 'nonzero', not")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@FEW
@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "other"]), anything, max_size=4))
def test_no_fault_shows_pydantics_internals(values):
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        lines = in_words(error, Settings, values, "f.yaml")
        assert lines
        assert not re.search(r"Input should|Extra inputs|Value error|type=|\[type|Field required", "\n".join(lines))


# ---- figures


@pytest.fixture
def figure():
    from matplotlib.figure import Figure

    def make(title):
        with style():
            made = Figure(layout="constrained")
            axes = made.add_subplot()
            axes.set_title(title)
            axes.set_yticks([0, 1], [title, "b"])
        return made

    return make


@pytest.fixture
def told(capsys):
    for function in (fonts._tell_missing, fonts._tell_unshaped, fonts.fallbacks):
        function.cache_clear()
    yield lambda: capsys.readouterr().err
    fonts.fallbacks.cache_clear()


def test_letters_of_matplotlibs_own_font_need_no_other(figure, told):
    rendered(figure("Киста, κύστη, µ"), "svg")
    assert told() == ""


def test_a_script_without_a_font_is_told_once_with_what_to_install(figure, told, monkeypatch):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    for _ in range(2):
        rendered(figure("良性 गाँठ"), "svg")
    lines = told().splitlines()
    assert [line.partition(" letters")[0] for line in lines if "no font" in line] == [
        *("note: no font here has Devanagari", "note: no font here has CJK")  # in the order of their codes
    ]
    assert "Noto Sans CJK SC" in told_once(lines, "CJK")
    assert "Noto Sans Devanagari" in told_once(lines, "Devanagari letters, so")


def told_once(lines, word):
    [line] = [line for line in lines if word in line]
    return line


def make_font(path, letters):
    """A font file with a square for each letter."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    glyph, names = pen.glyph(), [f"g{i}" for i in range(len(letters))]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *names])
    font.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names, strict=True)})
    font.setupGlyf(dict.fromkeys([".notdef", *names], glyph))
    font.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Invented Sans", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


def test_an_installed_font_that_has_the_letters_is_used(figure, told, tmp_path, monkeypatch):
    make_font(tmp_path / "invented.ttf", "良性")
    before = rendered(figure("良性"), "svg")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    font_manager.fontManager.addfont(tmp_path / "invented.ttf")
    fonts.fallbacks.cache_clear()
    told()
    with_font = figure("良性")
    assert rendered(with_font, "svg") != before
    assert with_font.axes[0].title.get_fontfamily() == [fonts.OWN, "Invented Sans"]
    assert with_font.axes[0].get_yticklabels()[0].get_fontfamily() == [fonts.OWN, "Invented Sans"]
    assert told() == ""


def test_every_script_has_a_name():
    assert {fonts._script(c) for c in "良가गঅ"} == {"CJK", "HANGUL", "DEVANAGARI", "BENGALI"}
    assert fonts._script("\ue000") == "UNKNOWN"
    assert unicodedata.category("\ue000") == "Co"


# ---- a whole report

EVIL = "<5 mm & {0} [x] $a_b$ | %s ~x~ ^\\ #"


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory, tiny_registry):
    """A report in which a data set, its positive class, and a model have such a name."""
    store = invent_store(tmp_path_factory.mktemp("evil"), tiny_registry, ["usfm-micro-scratch"], ["tiny-clinical"], 2)
    for folder, record in list(store.finished("demo")):
        cases = pd.read_parquet(folder / "cases.parquet")
        renamed = {name: name.replace("malignant", EVIL) for name in cases.columns}
        cases["class"] = cases["class"].replace("malignant", EVIL)
        cases.rename(columns=renamed).to_parquet(folder / "cases.parquet", index=False)
        classes = tuple(EVIL if name == "malignant" else name for name in record.classes)
        dataset = record.spec.dataset.model_copy(update={"name": EVIL, "classes": classes, "positive": EVIL})
        spec = record.spec.model_copy(update={"dataset": dataset, "model": f"={EVIL}"})
        tuned = replace(record.tuned, positive=EVIL)
        changed = record.model_copy(update={"spec": spec, "classes": classes, "tuned": tuned})
        (folder / "record.json").write_text(changed.model_dump_json())
    return build_report(store, "demo"), store


def test_hostile_names_stand_in_every_table_as_they_are(hostile_report):
    report, _ = hostile_report
    assert typeset(escaped(EVIL)) == EVIL
    tex = render([report], "latex", ["all"])
    rows = [line for table in re.findall(r"\\toprule(.*?)\\bottomrule", tex, re.DOTALL) for line in table.split("\n")]
    cells = [
        typeset(cell)
        for row in rows
        for cell in re.split(r" & ", row.removeprefix("{}").removesuffix(" \\\\"))
        if not row.startswith("\\midrule")
    ]
    assert {EVIL, f"={EVIL}", f"F1 of {EVIL} (%)"} <= set(cells)
    text = re.sub(r"^- \*\*(.*?)\*\*", r"- \1", render([report], "markdown", ["all"]), flags=re.MULTILINE)
    told = shown(re.sub(r"^\*\*.*\*\*$|^#.*|`.*?`", "", text, flags=re.MULTILINE))
    assert {EVIL, f"={EVIL}", f"F1 of {EVIL} (%)"} <= set(told)
    table = pd.read_csv(io.StringIO(render([report], "csv")))
    assert f"'={EVIL}" in set(table["model"])
    assert f"={EVIL}" in {row["model"] for row in json.loads(render([report], "json"))["rows"]}


def test_hostile_names_make_figures_with_safe_names(hostile_report, tmp_path):
    report, store = hostile_report
    written = write_figures(tmp_path, draw_all(report, store), formats=("svg",))
    assert len(written) > 5
    assert all(re.fullmatch(r"[A-Za-z0-9.-]{1,90}\.svg", path.name) for path in tmp_path.iterdir())
