"""A check as text, as Markdown for a job summary, or as JUnit XML."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from usfm_bench.core.pipe_table import bullet, escaped, pipe_table, printable, printable_lines
from usfm_bench.core.words import counted, difference, exact_percent, p_value, percent, with_unit
from usfm_bench.metrics.definitions import Definition
from usfm_bench.regression.check import Check
from usfm_bench.regression.costs import CostFinding
from usfm_bench.regression.findings import ALPHA, SEED_ALPHA, Finding

_LEFT = frozenset({"Outcome", "Dataset", "Model", "Metric", "Cost"})


def render(found: Check, form: str, *, strict: bool = False) -> str:
    """`text`, `markdown` or `junit`."""
    if form == "junit":
        return _junit(found, strict)
    lines = _markdown(found, strict) if form == "markdown" else map(printable, _text(found, strict))
    return "\n".join(lines) + "\n"


def render_error(message: str) -> str:
    """JUnit XML of a check that could not be made."""
    suite = ET.Element("testsuite", name="usfm-bench check", tests="1", failures="0", errors="1")
    case = ET.SubElement(suite, "testcase", classname="usfm-bench", name="check")
    ET.SubElement(case, "error", message=message)
    return _xml(suite)


def _summary(found: Check, strict: bool) -> str:
    counts: dict[str, int] = {}
    for finding in found.findings:
        counts[finding.outcome] = counts.get(finding.outcome, 0) + 1
    said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
    if n := sum(cost.exceeded for cost in found.costs):
        said += f"; {counted(n, 'cost')} beyond the limit"
    if n := sum(map(len, (found.bits or {}).values())):
        said += f"; {counted(n, 'metric')} with other bits"
    verdict = "FAILED" if found.failed(strict=strict) else "passed"
    return f"{verdict}: suite {found.suite}, profile {found.profile}; {len(found.findings)} metrics: {said}."


def _text(found: Check, strict: bool) -> Iterator[str]:
    yield _summary(found, strict)
    yield from _changed(found)
    for f in found.findings:
        yield f"{f.outcome:13}  {f.dataset} / {f.model}  {f.definition.name}: {describe(f)}"
    for cost in found.costs:
        if cost.limit is not None:
            yield f"{_word(cost):13}  {cost.dataset} / {cost.model}  {_describe_cost(cost)}"
    yield from _remarks(found)


def _markdown(found: Check, strict: bool) -> Iterator[str]:
    yield f"**{escaped(_summary(found, strict))}**"
    yield ""
    if found.changes:
        yield from map(bullet, _changed(found))
        yield ""
    header = ["Outcome", "Dataset", "Model", "Metric", "Before", "After", "Drop", "p (Holm)", "Would find"]
    body = [
        [
            *(f.outcome, f.dataset, f.model, f.definition.name),
            *(_value(f.definition, f.before), _value(f.definition, f.after), _difference(f.definition, f.drop)),
            "" if f.p_value is None else p_value(f.p_value),
            "; ".join(filter(None, [_difference(f.definition, f.detectable), f.reason])),
        ]
        for f in found.findings
    ]
    yield from pipe_table(header, body, _LEFT)
    yield ""
    if found.costs:
        costs = [
            [_word(c), c.dataset, c.model, c.name, f"{c.before:.4g}", f"{c.after:.4g}", f"{c.ratio:.4g}", _limit(c)]
            for c in found.costs
        ]
        header = ["Outcome", "Dataset", "Model", "Cost", "Before", "After", "Ratio", "Limit"]
        yield from pipe_table(header, costs, _LEFT)
        yield ""
    yield from map(bullet, _remarks(found))


def _junit(found: Check, strict: bool) -> str:
    suite = ET.Element("testsuite", name=f"usfm-bench check {found.suite} {found.profile}")
    changed_since = "".join(f"\n{line}" for line in _changed(found))
    n_failed = n_skipped = 0
    for finding in found.findings:
        case = _case(suite, finding.dataset, finding.model, finding.definition.name)
        worse = finding.outcome in ("regression", "diverged") or (strict and finding.outcome == "cannot tell")
        if worse or finding.outcome == "cannot tell":
            message = f"{finding.outcome}: {describe(finding)}{changed_since if worse else ''}"
            ET.SubElement(case, "failure" if worse else "skipped", message=message)
        n_failed += worse
        n_skipped += not worse and finding.outcome == "cannot tell"
    for cost in found.costs:
        if cost.limit is not None:
            case = _case(suite, cost.dataset, cost.model, cost.name)
            if cost.exceeded:
                ET.SubElement(case, "failure", message=_describe_cost(cost))
            n_failed += cost.exceeded
    for label, changed in (found.bits or {}).items():
        case = ET.SubElement(suite, "testcase", classname=label, name="every bit")
        if changed:
            ET.SubElement(case, "failure", message=f"other bits: {', '.join(changed)}")
        n_failed += bool(changed)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(n_failed))
    suite.set("skipped", str(n_skipped))
    ET.SubElement(suite, "system-out").text = "\n".join([*_changed(found), *_remarks(found)])
    return _xml(suite)


def _xml(suite: ET.Element) -> str:
    for element in suite.iter():
        element.attrib = {name: printable_lines(value) for name, value in element.items()}
        if element.text:
            element.text = printable_lines(element.text)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, dataset: str, model: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=f"{dataset} / {model}", name=name)


def describe(finding: Finding) -> str:
    """The figures behind an outcome, in words."""
    definition = finding.definition
    if finding.outcome == "unchanged":
        return f"{_value(definition, finding.after)}, every score as before"
    if finding.before != finding.before:
        return finding.reason
    way = "worse" if finding.drop > 0 else "better"
    words = [
        f"{_value(definition, finding.before)} -> {_value(definition, finding.after)}, "
        f"{_difference(definition, abs(finding.drop))} {way}"
    ]
    if finding.margin:
        words.append(f"margin {_difference(definition, finding.margin)}")
    if finding.p_value is not None:
        words.append(f"p {p_value(finding.p_value)} by Holm")
    if finding.detectable is not None:
        beyond = " beyond the margin" if finding.margin else ""
        words.append(f"a drop of {_difference(definition, finding.detectable)}{beyond} would be found with 80 % power")
    return "; ".join([*words, *([finding.reason] if finding.reason else [])])


def _changed(found: Check) -> Iterator[str]:
    where_all = {f"{f.dataset} / {f.model}" for f in found.findings}
    for line, labels in found.changes.items():
        where = "everywhere" if set(labels) == where_all else ", ".join(labels)
        yield f"changed since the baseline, {where}: {line}"


def _remarks(found: Check) -> Iterator[str]:
    for label, changed in (found.bits or {}).items():
        yield f"{label}: " + (f"other bits in {', '.join(changed)}" if changed else "every score equal to the last bit")
    yield from found.remarks
    yield (
        f"A regression is a drop beyond the margin by a one-sided test, paired by case; family-wise error "
        f"{percent(ALPHA)} over {len(found.findings)} metrics (Holm). Diverged: a seed far below all seeds of the "
        f"baseline and the better ones of its own run (family-wise error {exact_percent(SEED_ALPHA)})."
    )


def _word(cost: CostFinding) -> str:
    return "too costly" if cost.exceeded else "" if cost.limit is None else "within limit"


def _describe_cost(cost: CostFinding) -> str:
    return f"{cost.name}: {cost.before:.4g} -> {cost.after:.4g}, ratio {cost.ratio:.4g}, limit {_limit(cost)}"


def _limit(cost: CostFinding) -> str:
    return "" if cost.limit is None else f"{cost.limit:g}"


def _value(definition: Definition, value: float) -> str:
    return with_unit(value, definition.unit, digits=_digits(definition))


def _difference(definition: Definition, value: float | None) -> str:
    return "" if value is None else difference(value, definition.unit, digits=_digits(definition))


def _digits(definition: Definition) -> int:
    """A gate shows smaller steps of pixels than a table."""
    return 1 if definition.unit == "fraction" else 2
