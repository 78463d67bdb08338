"""Write the parts of docs/ that come from the code: `make docs`."""

from pathlib import Path

from usfm_bench.reporting.method import with_definitions

METHOD = Path(__file__).parents[1] / "docs" / "method.md"

if __name__ == "__main__":
    METHOD.write_text(with_definitions(METHOD.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote {METHOD}")
