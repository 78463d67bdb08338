"""An audit as text, as JSON, and as an HTML sheet of its pairs side by side."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import cv2
import jinja2

from usfm_bench.core.errors import capped, listed
from usfm_bench.core.words import counted
from usfm_bench.data.audit.burned_in import MIN_PIXELS
from usfm_bench.data.audit.findings import Audit, CasePair, Lesions, Overlap, SplitCheck
from usfm_bench.data.audit.near_duplicates import MAX_BITS, MIN_CORRELATION, MIN_CORRELATION_OF_HASHES
from usfm_bench.data.resize import shrink
from usfm_bench.data.sample import Image

THRESHOLDS = (
    f"near-duplicates: correlation of at least {MIN_CORRELATION} on a 64 x 64 grid, or of at least "
    f"{MIN_CORRELATION_OF_HASHES} with at most {MAX_BITS} of 63 bits of a perceptual hash apart, as they are or "
    f"mirrored; drawn-in text: at least {MIN_PIXELS} pixels in narrow, bright, upright strokes, a hint"
)
_SHOWN = 10  # lines of one kind in the text; JSON has all
_SIDE = 256  # longer side of a picture in the sheet, in pixels


def audit_json(audit: Audit) -> dict[str, Any]:
    """Everything found, with the thresholds; the keys are the fields of `Audit`."""
    facts = {"schema_version": 1, **asdict(audit), "leaks": audit.leaks}
    return facts | {
        "contradictions": [asdict(pair) for pair in audit.contradictions],
        "thresholds": {
            "min_correlation": MIN_CORRELATION,
            "min_correlation_of_hashes": MIN_CORRELATION_OF_HASHES,
            "max_bits": MAX_BITS,
            "min_stroke_pixels": MIN_PIXELS,
        },
    }


def audit_text(audit: Audit) -> str:
    """The findings in words, a section each, and the verdict last."""
    exact = [pair for pair in audit.pairs if pair.exact]
    near = [pair for pair in audit.pairs if not pair.exact]
    grouped = sum(pair.grouped for pair in near)
    out = sum(pair.left_out and not pair.grouped for pair in near)
    sections = [
        (f"{audit.dataset}, version {audit.version}: {counted(audit.images, 'image')}", [f"({THRESHOLDS})"]),
        (f"left out by the registry entry: {len(audit.left_out)}", [f"{k}: {v}" for k, v in audit.left_out.items()]),
        (f"exact duplicates: {counted(len(exact), 'pair')}", map(pair_text, exact)),
        (
            f"near-duplicates: {counted(len(near), 'pair')}; {grouped} in one group, {out} with a case left out, "
            f"{len(near) - grouped - out} that a split could part",
            [pair_text(pair) for pair in near if pair in audit.loose],
        ),
        (f"groups of duplicates: {_groups(audit.near_groups)}", [listed(group, _SHOWN) for group in audit.near_groups]),
        (
            f"contradictory labels among duplicates: {counted(len(audit.contradictions), 'pair')}",
            map(pair_text, audit.contradictions),
        ),
        ("splits", [_split(check) for check in audit.splits]),
        *((_overlap(overlap), map(pair_text, overlap.pairs)) for overlap in audit.overlaps),
        ("classes", [f"{c.label}: {c.images} images in {counted(c.groups, 'group')}" for c in audit.classes]),
        ("lesions", _lesions(audit.lesions)),
        (
            f"drawn-in text or calipers (a hint): {counted(len(audit.burned_in), 'image')}",
            [f"{c.label}: {c.burned_in} of {c.images}" for c in audit.classes],
        ),
    ]
    verdict = [f"leak: {leak}" for leak in audit.leaks] or ["No leak."]
    return "\n".join([*(line for head, lines in sections for line in _section(head, lines)), *verdict])


def pair_text(pair: CasePair) -> str:
    """`benign (433) = malignant (145)` and what there is to say about the two."""
    facts = [] if pair.exact else [f"correlation {pair.correlation:.3f}", f"{pair.bits} bits apart"]
    facts += ["mirrored"] if pair.mirrored else []
    if len(set(pair.labels)) > 1 and None not in pair.labels:
        facts.append(f"labels {pair.labels[0]} and {pair.labels[1]}")
    facts += ["left out by the entry"] if pair.left_out else []
    return f"{pair.first} {'=' if pair.exact else '~'} {pair.second}" + (f" ({', '.join(facts)})" if facts else "")


def audit_sheet(audit: Audit, images: Mapping[str, Image], others: Mapping[str, Mapping[str, Image]]) -> str:
    """An HTML page that shows the images of every pair side by side; everything named in it is escaped.

    Args:
        audit: the findings.
        images: case id -> (H, W) grey levels.
        others: the same of each data set that was compared with.
    """
    parts = [(f"Within {audit.dataset}", audit.pairs, images)]
    parts += [(_overlap(overlap), overlap.pairs, others[overlap.other]) for overlap in audit.overlaps]
    sections = [
        (head, [(pair_text(pair), _picture(images[pair.first]), _picture(second[pair.second])) for pair in pairs])
        for head, pairs, second in parts
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("usfm_bench.reporting"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("audit_sheet.html")
    return template.render(audit=audit, thresholds=THRESHOLDS, sections=sections)


def _section(head: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return [head, *(f"    {line}" for line in capped(found, _SHOWN, hint="; --format json has all"))]


def _groups(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return "none"
    return f"{len(groups)} with {sum(map(len, groups))} images, the largest of {max(map(len, groups))}"


def _split(check: SplitCheck) -> str:
    if check.shared_groups is None:
        return f"{check.name}: cannot be drawn: {check.note}"
    twins = f"; {check.twins} of {check.tested} test images have a twin in training" if check.twins else ""
    return (
        f"{check.name}: {check.shared_groups} groups and {check.parted_pairs} pairs of duplicates on two sides{twins}"
    )


def _overlap(overlap: Overlap) -> str:
    exact = sum(pair.exact for pair in overlap.pairs)
    simulated = "" if overlap.leaks or not overlap.pairs else "; simulated independently"
    return (
        f"shared with {overlap.other} ({counted(overlap.images, 'image')}): {exact} exact and "
        f"{len(overlap.pairs) - exact} near pairs{simulated}"
    )


def _lesions(lesions: Lesions | None) -> list[str]:
    if lesions is None:
        return ["no masks"]
    head = (
        f"{counted(lesions.masks, 'mask')}: {lesions.empty} empty, {lesions.full} full, "
        f"{lesions.at_border} that touch the edge of the image"
    )
    shown = (("area in px", lesions.area_px, ".0f"), ("share of the image", lesions.area_share, ".2%"))
    rows = [*shown, ("area in mm2", lesions.area_mm2, ".1f")]
    names = ", ".join(f"{q:.0%}" for q in lesions.quantiles)
    return [head] + [
        f"{name}, quantiles {names}: {', '.join(f'{v:{form}}' for v in values)}"
        for name, values, form in rows
        if values
    ]


def _picture(image: Image) -> str:
    _, encoded = cv2.imencode(".jpg", shrink(image, _SIDE), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(bytes(encoded)).decode()}"
