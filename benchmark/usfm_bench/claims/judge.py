"""Is a published row arithmetically possible, and what would rescue it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from usfm_bench.claims.bounds import lesion_iou
from usfm_bench.claims.checks import Box, twice_rounded
from usfm_bench.claims.counts import refuse_share, refuse_table
from usfm_bench.claims.readings import Reading
from usfm_bench.claims.rows import Claim, cut_off

Answer = Literal["possible", "impossible", "undetermined"]


@dataclass(frozen=True)
class Judgement:
    """A row under one uniform reading."""

    reading: Reading
    verdict: Answer
    """`possible`: checks applied and none refutes it; `undetermined`: none applied."""
    proofs: tuple[str, ...]
    """Why it is impossible; empty otherwise."""
    checks: tuple[str, ...]
    """What was checked."""


@dataclass(frozen=True)
class Verdict:
    """A row under every uniform reading that its source leaves open."""

    claim: Claim
    verdict: Answer
    """`impossible` when every reading is; `possible` when a check applied in one that is not; else `undetermined`."""
    judgements: tuple[Judgement, ...]
    rescues: tuple[str, ...]
    """Mixed readings under which an impossible row would be possible."""
    needed: tuple[str, ...]
    """Columns that an undetermined row would need for a check."""

    @property
    def proofs(self) -> dict[str, tuple[str, ...]]:
        """Each proof once, with the titles of the readings that it rules out."""
        found: dict[str, tuple[str, ...]] = {}
        for judgement in self.judgements:
            for proof in judgement.proofs:
                found[proof] = (*found.get(proof, ()), judgement.reading.title)
        return found


def check_claims(claims: Sequence[Claim]) -> list[Verdict]:
    """The verdict of each row."""
    return [check_claim(claim) for claim in claims]


def check_claim(claim: Claim) -> Verdict:
    """Whether numbers that round to the row's can all be computed in one way, with the proof where they cannot."""
    judgements = tuple(_judge(claim, reading, claim.box) for reading in claim.readings)
    left = {judgement.verdict for judgement in judgements} - {"impossible"}
    verdict: Answer = "impossible" if not left else "possible" if "possible" in left else "undetermined"
    return Verdict(
        claim,
        verdict,
        judgements,
        rescues=tuple(_rescues(claim)) if verdict == "impossible" else (),
        needed=_needed(claim) if verdict == "undetermined" else (),
    )


def _judge(claim: Claim, reading: Reading, box: Box) -> Judgement:
    applying = [check for check in reading.checks if check.applies(box)]
    checks = [check.label(box) for check in applying]
    proofs = [check.proof(box) for check in applying if check.refutes(box)]
    if claim.n_cases and claim.n_runs:
        for name in [name for name in reading.shares if name in box]:
            checks.append(f"{name} is a number of cases over {claim.n_cases * claim.n_runs}")
            proofs += _some(refuse_share(name, box[name], claim.n_cases, claim.n_runs))
    if reading.one_table and claim.n_runs == 1 and len(box) > 1:
        checks.append("one TP, FP, FN and TN for all columns")
        proofs += [] if proofs else _some(refuse_table(box))
    verdict: Answer = "impossible" if proofs else "possible" if checks else "undetermined"
    return Judgement(reading, verdict, tuple(proofs), tuple(checks))


def _some(proof: str | None) -> list[str]:
    return [proof] if proof else []


def _survivors(claim: Claim, box: Box) -> list[str]:
    """Names of the readings that do not refute other numbers in the row's place."""
    judgements = [_judge(claim, reading, box) for reading in claim.readings]
    return [judgement.reading.name for judgement in judgements if not judgement.proofs]


def _rescues(claim: Claim) -> Iterator[str]:
    box = claim.box
    for one, other in combinations(box, 2):
        swapped = {**box, one: box[other], other: box[one]}
        yield from _rescue(claim, swapped, f"{one} and {other} swapped")
    for name in box:
        without = {other: printed for other, printed in box.items() if other != name}
        yield from _rescue(claim, without, _otherwise(name, claim))
    cut = {name: cut_off(claim.values[name]) for name in box}
    yield from _rescue(claim, cut, "values cut off instead of rounded")
    if claim.n_runs != 1:
        twice = {name: twice_rounded(printed) for name, printed in box.items()}
        yield from _rescue(claim, twice, "values of each run rounded before they were averaged")
    if claim.of == "masks" and "IOU" in box:
        lesion = {**box, "IOU": lesion_iou(box)}
        yield from _rescue(claim, lesion, "IOU the mean of lesion and background (mIoU), and the rest of the lesion")
    if claim.averaging is not None:
        yield from _rescue(claim.model_copy(update={"averaging": None}), box, "another averaging than the stated one")
    if claim.n_cases is not None or claim.n_runs is not None:
        unknown = claim.model_copy(update={"n_cases": None, "n_runs": None})
        yield from _rescue(unknown, box, "other numbers of cases or runs")


def _rescue(claim: Claim, box: Box, what: str) -> Iterator[str]:
    if names := _survivors(claim, box):
        yield f"{what} (nothing then rules out {', '.join(names)})"


def _otherwise(name: str, claim: Claim) -> str:
    """What can have set one column apart."""
    if claim.of == "masks":
        over_lesions = ", such as DSC over images with a lesion and ACC over all" if name in ("DSC", "ACC") else ""
        return f"{name} averaged in another way or over other images than the rest{over_lesions}, or misprinted"
    example = {
        "ACC": ", such as of one class against the rest",
        "F1": ", such as without those whose F1 is 0/0",
    }.get(name, "")
    return f"{name} averaged in another way or over other classes or runs than the rest{example}, or misprinted"


def _needed(claim: Claim) -> tuple[str, ...]:
    """The columns that go together in a check, only those with a column of the row where there are such."""
    checks = [check for reading in claim.readings for check in reading.checks]
    groups = {group for check in checks for group in check.columns_needed}
    near = {group for group in groups if group & claim.box.keys()} or groups
    return tuple(sorted((" and ".join(sorted(group)) for group in near), key=lambda text: (text.count(" and "), text)))
