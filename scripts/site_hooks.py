"""Pages of the site that lie outside docs/: mkdocs calls these functions."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PROJECT = Path(__file__).parents[1]
OUTSIDE = {"README.md": "index.md", **{f"{n}.md": f"{n.lower()}.md" for n in ("CONTRIBUTING", "SECURITY", "CHANGELOG")}}


def on_files(files: Any, config: Any) -> Any:
    """Add README, CONTRIBUTING, SECURITY and CHANGELOG, with links as they are from within docs/."""
    for source, page in OUTSIDE.items():
        text = (PROJECT / source).read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        for other, name in OUTSIDE.items():
            text = text.replace(f"]({other})", f"]({name})")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Make a link of each page that a text names, as in `docs/usage.md`."""
    if "/" in page.file.src_path:
        return markdown
    return re.sub(r"(?<!\[)`docs/([\w-]+\.md)`", r"[`docs/\1`](\1)", markdown)
