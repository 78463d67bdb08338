"""Verdicts as text and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from usfm_bench.claims.judge import Verdict

SCHEMA_VERSION = 1
_WIDTH = 110


def claims_text(verdicts: Sequence[Verdict]) -> str:
    """One block a row: verdict, values, proof in words, what would rescue it."""
    return "\n".join("\n".join(_block(verdict)) + "\n" for verdict in verdicts)


def claims_json(verdicts: Sequence[Verdict]) -> str:
    """`schema_version` and `rows`, in the order of the file."""
    rows = [_as_json(number, verdict) for number, verdict in enumerate(verdicts, 1)]
    return json.dumps({"schema_version": SCHEMA_VERSION, "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def _block(verdict: Verdict) -> Iterator[str]:
    claim = verdict.claim
    yield f"{verdict.verdict}: Table {claim.table}, {claim.dataset}, {claim.task}, {claim.model}"
    facts = ", ".join(f"{name} {text}" for name, text in claim.values.items())
    known = {"averaging": claim.averaging, "n_cases": claim.n_cases, "n_runs": claim.n_runs}
    given = ", ".join(f"{key} {value}" for key, value in known.items() if value is not None)
    yield from _wrapped(f"{facts} ({given})" if given else facts)
    yield from _wrapped(claim.citation)
    if verdict.verdict == "possible":
        yield from _possible(verdict)
    if verdict.needed:
        yield from _wrapped(f"No check applies. One needs {', or '.join(verdict.needed)}.")
    yield from _proofs(verdict)
    if verdict.verdict == "impossible":
        yield "  What would make it possible:" if verdict.rescues else "  No single change that was tried rescues it."
    for rescue in verdict.rescues:
        yield from _wrapped(rescue, "  - ")


def _possible(verdict: Verdict) -> Iterator[str]:
    for judgement in verdict.judgements:
        if judgement.verdict == "possible":
            yield from _wrapped(f"Nothing rules it out as {judgement.reading.title}: {'; '.join(judgement.checks)}.")


def _proofs(verdict: Verdict) -> Iterator[str]:
    last = None
    for proof, titles in verdict.proofs.items():
        if titles != last:
            yield from _wrapped(f"Impossible as {'; '.join(titles)}:")
        yield from _wrapped(proof, "  - ")
        last = titles


def _wrapped(text: str, lead: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _as_json(number: int, verdict: Verdict) -> dict[str, Any]:
    return {
        "row": number,
        **verdict.claim.model_dump(mode="json"),
        "verdict": verdict.verdict,
        "readings": [
            {
                "name": judgement.reading.name,
                "title": judgement.reading.title,
                "verdict": judgement.verdict,
                "checks": list(judgement.checks),
                "proofs": list(judgement.proofs),
            }
            for judgement in verdict.judgements
        ],
        "rescues": list(verdict.rescues),
        "needed": list(verdict.needed),
    }
