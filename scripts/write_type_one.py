"""Simulate how often each test of reports finds a difference where there is none, and write docs/type-one.md."""

from __future__ import annotations

import csv
import io
import sys
import time
from pathlib import Path

import numpy as np

from usfm_bench.core.files import write_text
from usfm_bench.core.pipe_table import pipe_table

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from simulated_null import LIMIT, TABLE, read_table, wrongly_found  # noqa: E402
from simulated_null_cells import CELLS  # noqa: E402

PAGE, PICTURE = (PROJECT / "docs" / f"type-one.{end}" for end in ("md", "png"))
SEED = 20
_HEAD = ("test", "metric", "design", "found", "draws", "warned")
_FEW_POINTS = 0.08  # of the axis of the picture; what is more is drawn at its end


def simulate(part: int, parts: int, scale: float) -> None:
    """Every cell k with k % parts == part, each with a generator of its own; printed as lines of the table."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for k, cell in enumerate(CELLS):
        if k % parts == part:
            start, draws = time.monotonic(), int(cell.draws * scale)
            wrong = wrongly_found(cell, np.random.default_rng([SEED, k]), draws)
            writer.writerow([k, f"{wrong.share:.5f}", draws])
            sys.stdout.flush()
            print(f"{cell}: {100 * wrong.share:.1f} %, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def write_table(found: dict[int, tuple[float, int]]) -> None:
    """From cell -> share and draws."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEAD)
    for k, (share, draws) in sorted(found.items()):
        cell = CELLS[k]
        writer.writerow([cell.test, cell.metric, cell.design, f"{share:.4f}", draws, "yes" if cell.warned else ""])
    write_text(TABLE, stream.getvalue())


def summary() -> list[str]:
    """A line a test and metric: how many designs, the median and the worst of those that carry no warning."""
    lines = read_table()
    draws = [line.draws for line in lines]
    body = []
    for test, metric in dict.fromkeys((line.test, line.metric) for line in lines):
        own = [line for line in lines if (line.test, line.metric) == (test, metric)]
        plain, warned = [x for x in own if not x.warned], [x for x in own if x.warned]
        if not plain:
            continue
        worst = max(plain, key=lambda line: line.wrong.share)
        above = sum(line.wrong.surely_above for line in plain)
        with_warning = f"{len(warned)}, to {_percent(max(x.wrong.share for x in warned))}" if warned else ""
        middle = float(np.median([line.wrong.share for line in plain]))
        error = f"{100 * worst.wrong.error:.1f}"
        body.append([test, metric, str(len(plain)), _percent(middle), f"{_percent(worst.wrong.share)} ± {error}"])
        body[-1] += [worst.design, str(above), with_warning]
    header = ["Test", "Metric", "Designs", "Median", "Worst", "There", "Surely above 5.6", "Warned of"]
    known = f"{len(lines)} of the {len(CELLS)} designs were simulated, {min(draws)} to {max(draws)} times each."
    return [known, "", *pipe_table(header, body, {"Test", "Metric", "There"})]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def draw() -> None:
    """A row a test, a dot a design."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    lines = read_table()
    tests = list(dict.fromkeys(line.test for line in lines))
    figure, axes = plt.subplots(figsize=(7.5, 0.34 * len(tests) + 0.9), layout="constrained")
    for warned, colour, label in ((False, "#0072b2", "a design"), (True, "#d55e00", "a design that reports warn of")):
        own = [line for line in lines if line.warned == warned]
        x = [100 * min(line.wrong.share, _FEW_POINTS) for line in own]
        axes.scatter(x, [tests.index(line.test) for line in own], s=14, alpha=0.5, color=colour, label=label)
    axes.axvline(100 * LIMIT, color="black", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(tests)), tests, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(-0.2, 100 * _FEW_POINTS + 0.3)
    axes.set_xlabel(
        "Differences found where there is none (%); dashed: 5.6 %; at the right end: 8 % or more", fontsize=8
    )
    axes.legend(fontsize=7, loc="lower right")
    figure.savefig(PICTURE, dpi=110)


def write_page() -> None:
    """The table of the page between its marks, and its picture."""
    begin, end = "<!-- table: written by scripts/write_type_one.py -->\n", "<!-- end of table -->\n"
    before, rest = PAGE.read_text(encoding="utf-8").split(begin)
    write_text(PAGE, before + begin + "\n".join(summary()) + "\n" + end + rest.split(end)[1])
    draw()


def _gathered(paths: list[Path]) -> dict[int, tuple[float, int]]:
    rows = [line.split(",") for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return {int(k): (float(share), int(draws)) for k, share, draws in rows}


if __name__ == "__main__":
    # `--part I/N` simulates a part and prints it; with files of such lines the page is written from them.
    if "--part" in sys.argv:
        one, of = sys.argv[sys.argv.index("--part") + 1].split("/")
        simulate(int(one), int(of), float(sys.argv[-1]) if "--scale" in sys.argv else 1.0)
    elif sys.argv[1:] == ["--page-only"]:
        write_page()
    elif sys.argv[1:]:
        write_table(_gathered([Path(name) for name in sys.argv[1:]]))
        write_page()
    else:
        write_table(
            {
                k: (wrongly_found(cell, np.random.default_rng([SEED, k])).share, cell.draws)
                for k, cell in enumerate(CELLS)
            }
        )
        write_page()
