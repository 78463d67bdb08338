"""The list of corruptions in docs/robustness.md, and its picture, written from the registry."""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.core.pipe_table import pipe_table
from usfm_bench.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from usfm_bench.data.corruptions.base import case_generator
from usfm_bench.data.phantom import PhantomSpec, render
from usfm_bench.data.sample import Image

BEGIN, END = "<!-- corruptions: written by `make docs` -->\n", "<!-- end of corruptions -->\n"
_HEADER = ["Name", "What", "Stands for, and severities 1 to 5", "Moves masks", "Version", "Source"]
_TILE, _LINE = 112, 14


def with_corruptions(text: str) -> str:
    """The text of docs/robustness.md with its list written anew."""
    before, rest = text.split(BEGIN)
    body = [
        [f"`{name}`", c.title, c.imitates, "yes" if c.moves else "", str(c.version), c.source]
        for name, c in sorted(CORRUPTIONS.items(), key=lambda item: (item[1].group != "ultrasound", item[0]))
    ]
    return before + BEGIN + "\n".join([*pipe_table(_HEADER, body, set(_HEADER)), ""]) + END + rest.split(END)[1]


def corruptions_picture(columns: int = 3) -> Image:
    """(H, W): a simulated image, clean and in each severity, under every corruption."""
    image = render(PhantomSpec(n=4, size=_TILE), 1).image
    rows = []
    for name in CORRUPTIONS:
        shown = [image, *(corrupt(image, name, s, case_generator("picture", name)) for s in SEVERITIES)]
        title = np.full((_LINE, _TILE * len(shown)), 255, np.uint8)
        cv2.putText(title, f"{name} 0 to 5", (2, _LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.36, 0, 1, cv2.LINE_AA)
        rows.append(np.pad(np.vstack([title, np.hstack(shown)]), ((0, 3), (0, 6)), constant_values=255))
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % columns)
    each = len(rows) // columns
    return np.hstack([np.vstack(rows[k * each : (k + 1) * each]) for k in range(columns)])
