"""`submission.json`: one model's finished trials of a suite, and the digest of every file that belongs to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import Settings, content_hash
from usfm_bench.core.validation import in_words
from usfm_bench.results.store import Store, read_json
from usfm_bench.suites.plan import Suite

NAME = "submission.json"
SCHEMA_VERSION = 1
TRIALS = "trials"
_TEXT = 300


class Statement(Settings):
    """Whether the weights saw images of a data set, as the submitter says."""

    verdict: Literal["yes", "no", "unknown"]
    why: str = Field(max_length=1000)


class Submission(Settings):
    """Content of `submission.json`."""

    kind: Literal["usfm-bench submission"] = "usfm-bench submission"
    schema_version: int = SCHEMA_VERSION
    suite: str = Field(max_length=_TEXT)
    suite_hash: str
    """Of the suite's file as it was when the submission was packed, `suite_digest`."""
    profile: str = Field(max_length=_TEXT)
    model: str = Field(min_length=1, max_length=_TEXT)
    """As the board calls it."""
    adaptation: str = Field(max_length=40)
    """`full`, `frozen`, `linear`, `knn` or `lora`."""
    revision: int = Field(ge=1)
    created: str = Field(max_length=40)
    """UTC, ISO 8601."""
    contact: str = Field(min_length=1, max_length=_TEXT)
    licence: str = Field(max_length=_TEXT)
    """Of the weights."""
    contamination: dict[str, Statement]
    """By data set."""
    private: tuple[str, ...] = ()
    """Data sets that are not public: names of cases and groups are digests."""
    about: str = Field(default="", max_length=2000)
    """What a reader should know, in the submitter's words."""
    code: dict[str, Any]
    """Commit and versions that packed it; each record has those that trained."""
    files: dict[str, str] = Field(min_length=1)
    """Path below the folder, with `/`, to sha256."""
    digest: str = ""
    """Of everything above, `Submission.own_digest`."""

    @property
    def own_digest(self) -> str:
        """Content hash of all but `digest`; it names this state of the submission."""
        return content_hash(self.model_dump(mode="json", exclude={"digest"}))


def suite_digest(suite: Suite) -> str:
    """What makes one version of a suite differ from another: all that its file says but for the title."""
    return content_hash(suite.model_dump(mode="json", exclude={"title"}))


def read_submission(folder: Path) -> Submission:
    """The `submission.json` of a folder.

    Raises:
        BenchError: missing, damaged, or of a schema that this version does not read.
    """
    path = folder / NAME
    try:
        content = read_json(path, "`usfm-bench submit` writes it.")
    except RecursionError:
        raise BenchError(f"{path}: is nested too deeply.") from None
    if content.get("schema_version") != SCHEMA_VERSION:
        raise BenchError(f"{path}: schema_version is {content.get('schema_version')!r}, expected {SCHEMA_VERSION}.")
    try:
        return Submission.model_validate(content)
    except ValidationError as error:
        raise BenchError("\n".join(in_words(error, Submission, content, str(path)))) from None


def find_submissions(folder: Path) -> list[Path]:
    """Folders of submissions at or below a folder, in path order.

    Raises:
        BenchError: no such folder.
    """
    if not folder.is_dir():
        raise BenchError(f"'{folder}' is not a folder; expected a submission, or a folder of them.")
    return sorted(path.parent for path in folder.rglob(NAME))


def store_of(folder: Path) -> Store:
    """Its trials, in the layout of a runs folder."""
    return Store(folder / TRIALS)
