"""`verdicts.json` of a board: what verification found of each submission, as whoever keeps the board notes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field, ValidationError

from usfm_bench.board.submission import Submission, find_submissions, read_submission
from usfm_bench.board.verify import Tier, Verified, verify
from usfm_bench.core.environment import now
from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_text
from usfm_bench.core.settings import Settings
from usfm_bench.results.store import read_json

NAME = "verdicts.json"


class Verdict(Settings):
    """Of one state of a submission."""

    tier: Tier
    by: str
    """When, and what was looked at."""
    notes: tuple[str, ...] = ()
    answers: dict[str, str]
    """`<dataset>/<fold>/<seed>` -> digest of the predictions."""


class Verdicts(Settings):
    """Content of the file."""

    verdicts: dict[str, Verdict] = Field(default_factory=dict)
    """By `Submission.digest`."""


def read_verdicts(board: Path) -> dict[str, Verdict]:
    """Empty where nothing was verified yet.

    Raises:
        BenchError: the file is damaged.
    """
    path = board / NAME
    if not path.exists():
        return {}
    try:
        return Verdicts.model_validate(read_json(path, "`leaderboard verify --record` writes it anew.")).verdicts
    except ValidationError as error:
        raise BenchError(f"{path}: is damaged: {error.errors()[0]['msg']}.") from None


def record_verdicts(board: Path, found: Iterable[Verified]) -> None:
    """Note what was verified; a refused submission loses what it had."""
    known = dict(read_verdicts(board))
    for each in found:
        if each.submission is None:
            continue
        known.pop(each.submission.digest, None)
        if each.tier is not None:
            known[each.submission.digest] = Verdict(
                tier=each.tier, by=f"verified {now()}", notes=each.notes, answers=dict(each.answers)
            )
    text = Verdicts(verdicts=dict(sorted(known.items()))).model_dump_json(indent=1)
    write_text(board / NAME, text + "\n")


def verify_all(
    folders: Sequence[Path], board: Path, data_root: Path | None = None, rerun: Path | None = None
) -> list[Verified]:
    """Each by itself, then beside the others and the board: names that are taken, predictions that are another's."""
    found = [verify(folder, board, data_root, rerun) for folder in folders]
    others = [(place, read_quietly(place)) for place in (find_submissions(board) if board.is_dir() else [])]
    kept = read_verdicts(board)
    owners: dict[tuple[str, str], list[tuple[Path, Submission]]] = {}
    said: dict[tuple[str, str, str], list[tuple[Path, Submission]]] = {}
    answers = {v.submission.digest: v.answers for v in found if v.submission is not None}
    places = {v.folder.resolve(): (v.folder, v.submission) for v in found}
    for place, submission in [*places.values(), *(o for o in others if o[0].resolve() not in places)]:
        if submission is None:
            continue
        owners.setdefault((submission.suite, submission.model), []).append((place, submission))
        known = answers.get(submission.digest) or (kept[submission.digest].answers if submission.digest in kept else {})
        for key, answer in known.items():
            said.setdefault((submission.suite, key, answer), []).append((place, submission))
    return [_beside_others(each, owners, said) for each in found]


def read_quietly(place: Path) -> Submission | None:
    """A submission of the board; None where it cannot be read."""
    try:
        return read_submission(place)
    except (BenchError, RecursionError):
        return None


def _beside_others(
    each: Verified,
    owners: dict[tuple[str, str], list[tuple[Path, Submission]]],
    said: dict[tuple[str, str, str], list[tuple[Path, Submission]]],
) -> Verified:
    own = each.submission
    if own is None or each.faults:
        return each
    faults = []
    for place, other in owners[own.suite, own.model]:
        if place != each.folder and other.contact != own.contact and other.created <= own.created:
            faults.append(f"the name '{own.model}' is taken by {place.parent.name}/{place.name} of another contact.")
        elif place != each.folder and other.revision == own.revision and other.digest != own.digest:
            faults.append(f"revision {own.revision} of '{own.model}' is there already, in {place}.")
    for key, answer in each.answers.items():
        for place, other in said.get((own.suite, key, answer), []):
            if other.model != own.model and other.created <= own.created and place != each.folder:
                faults.append(f"{key} (data set/fold/seed): has the predictions of '{other.model}' ({place}).")
    faults = list(dict.fromkeys(faults))
    return replace(each, faults=tuple(faults), tier=None) if faults else each
