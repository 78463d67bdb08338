"""Write the parts of docs/ that come from the code, and the example report from the demo's trials: `make docs`."""

from pathlib import Path

import cv2

from usfm_bench.core.files import write_text
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.corruptions import corruptions_picture, with_corruptions
from usfm_bench.reporting.figures import draw_all, write_figures
from usfm_bench.reporting.method import definition_pages, with_definitions
from usfm_bench.reporting.registry import datasets_pages, with_families, with_seen
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import load_registry

PROJECT = Path(__file__).parents[1]
EXAMPLE = PROJECT / "docs" / "example-report"
MODELS, SEEN, ROBUSTNESS = (PROJECT / "docs" / f"{name}.md" for name in ("models", "seen", "robustness"))
# Enough to see what there is; `report --figures DIR` draws all of them.
SHOWN = ("forest-", "cases-", "size-", "curves-malignant-", "confusion-", "sheet-unet")


def write_example() -> None:
    """Markdown, LaTeX and some figures of the suite `demo`, whose trials lie in reports/runs."""
    store = Store(PROJECT / "reports" / "runs")
    report = build_report(store, "demo", "smoke")
    chosen = [named for named in draw_all(report, store) if named.name.startswith(SHOWN)]
    for named, [path] in write_figures(EXAMPLE, chosen, formats=("png",)):
        print(f"Wrote {path.relative_to(PROJECT)}: {named.title}")
    figures = "\n\n".join(f"![{n.title}]({n.name}.png)\n\n*{n.title}.* {n.caption}" for n in chosen)
    about = (
        "This page is the report of `make demo` with `--sections all`, written by `make docs`. The same as a page with "
        "sortable tables and every case: `usfm-bench report --suite demo --format html --out page`. As LaTeX: "
        "`report.tex`.\n"
    )
    write_text(EXAMPLE / "README.md", f"{about}\n{render([report], 'markdown', ['all'])}\n## Figures\n\n{figures}\n")
    write_text(EXAMPLE / "report.tex", render([report], "latex"))


def write_front_picture() -> None:
    """The README's picture: BUSI as measured, from the committed records."""
    store = Store(PROJECT / "reports" / "measured" / "busi-seg-cpu")
    drawn = draw_all(build_report(store, "busi-seg", "quick"), store)
    write_figures(PROJECT / "docs", [each for each in drawn if each.name == "forest-busi-lesion"], formats=("png",))


if __name__ == "__main__":
    for name in definition_pages():
        page = PROJECT / "docs" / name
        write_text(page, with_definitions(page.read_text(encoding="utf-8"), name))
        print(f"Wrote {page.relative_to(PROJECT)}")
    for name, text in datasets_pages(load_registry(PROJECT / "datasets.yaml").values()).items():
        write_text(PROJECT / "docs" / name, text)
        print(f"Wrote docs/{name}")
    write_text(MODELS, with_families(MODELS.read_text(encoding="utf-8")))
    write_text(SEEN, with_seen(SEEN.read_text(encoding="utf-8"), load_registry(PROJECT / "datasets.yaml")))
    write_text(ROBUSTNESS, with_corruptions(ROBUSTNESS.read_text(encoding="utf-8")))
    cv2.imwrite(str(PROJECT / "docs" / "corruptions.jpg"), corruptions_picture(), [cv2.IMWRITE_JPEG_QUALITY, 60])
    print(f"Wrote {ROBUSTNESS.relative_to(PROJECT)}")
    write_front_picture()
    write_example()
