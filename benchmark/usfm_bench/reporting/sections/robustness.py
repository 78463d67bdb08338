"""What corruptions of the images cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from usfm_bench.core.errors import listed
from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, heading, number, with_interval
from usfm_bench.data.corruptions import CORRUPTIONS
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.robustness import CorruptionError, Loss
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind

_NOTES = (
    "The same networks on the same test cases, with their images corrupted; nothing is trained again. Loss: how much "
    "worse the score is than on clean images, paired by case and network, [95 % interval]; relative: as a share of the "
    "clean score. Chance in a corruption comes from the case alone, so that all models see the same pixels. Cases are "
    "those with a score under every condition: where a lesion leaves the view, there is none.",
    "What each corruption does, with units and source, is in docs/robustness.md.",
)


_MCE = (
    "Balanced error of each of the seven corruptions, mean over five severities, divided by that of the publication's "
    "AlexNet, which was tested on BreastMNIST at 224 px; then the mean over corruptions (arXiv:2406.17536). 100 % is "
    "as AlexNet there. On other cases than BreastMNIST's 156 test images it compares models with one another alone."
)


def robustness(report: Report) -> Iterator[Section]:
    """One a table of the paper, over all corruptions and by each."""
    for table in dict.fromkeys(loss.table for loss in report.losses):
        own = [loss for loss in report.losses if loss.table == table]
        yield Section(
            title="What corrupted images cost",
            grid=_overall(own),
            notes=_NOTES,
            caption="Mean over all corruptions and severities that were evaluated.",
            table=table,
            ident="robustness",
        )
        yield Section(
            title="Loss by corruption",
            grid=_by_corruption(own),
            notes=(),
            caption="Mean over the severities that were evaluated; points or the unit of the metric.",
            table=table,
            ident="robustness-by-corruption",
            folded=True,
        )
        if errors := [each for each in report.corruption_errors if each.table == table]:
            yield _errors(errors, table)


def _errors(errors: Sequence[CorruptionError], table: str | None) -> Section:
    whole = [each for each in errors if each.error is not None]
    body = [
        [
            *(each.dataset, each.model, number(each.clean, "fraction"), number(each.corrupted, "fraction")),
            with_interval(*each.error[:3], "fraction"),
        ]
        for each in whole
        if each.error is not None
    ]
    lines = [
        f"{each.dataset}, {each.model}: no mCE, since {listed(each.lacking)} were not evaluated "
        "(`usfm-bench evaluate --conditions medmnistc --severities 1,2,3,4,5`)."
        for each in errors
        if each.error is None
    ]
    return Section(
        title="Mean corruption error of MedMNIST-C",
        grid=Grid(["Dataset", "Model", "Error, clean (%)", "Error, corrupted (%)", "mCE (%)"], body) if whole else None,
        notes=(*([_MCE] if whole else []), *lines),
        caption="In percent, with the 95 % interval over seeds and cases." if whole else "",
        table=table,
        ident="robustness-mce",
        folded=True,
    )


def _overall(losses: Sequence[Loss]) -> Grid:
    header = [
        "Dataset",
        "Model",
        "Metric",
        "Clean",
        "Corrupted",
        "Loss",
        "Relative (%)",
        "Worst",
        "at",
        "Conditions",
        "Cases",
    ]
    body, of = [], []
    for loss in losses:
        if loss.corruption is None and loss.severity is None:
            worst = max((other for other in losses if _same(loss, other) and other.n_conditions == 1), key=_cost)
            body.append(
                [
                    *(loss.dataset, loss.model, heading(loss.metric, loss.unit)),
                    *(number(x, loss.unit) for x in (loss.clean, loss.corrupted)),
                    _worse(loss, loss.unit),
                    with_interval(*_signed(loss, loss.relative), "fraction"),
                    f"{_title(worst)}, severity {worst.severity}",
                    *(number(worst.corrupted, worst.unit), str(loss.n_conditions), str(loss.n_cases)),
                ]
            )
            of.append((loss.dataset, loss.model))
    return Grid(header, body, tuple(of))


def _by_corruption(losses: Sequence[Loss]) -> Grid:
    """A line a corruption, a column a model of each data set and metric."""
    own = [loss for loss in losses if loss.severity is None and loss.corruption is not None]
    models = list(dict.fromkeys(loss.model for loss in own))
    body = []
    for (dataset, metric, unit), group in groupby(
        sorted(own, key=lambda loss: (loss.dataset, loss.metric)), lambda loss: (loss.dataset, loss.metric, loss.unit)
    ):
        cells = {(loss.corruption, loss.model): loss for loss in group}
        for name in dict.fromkeys(name for name, _ in cells):
            first = next(loss for (other, _), loss in cells.items() if other == name)
            found = [cells.get((name, model)) for model in models]
            line = [_worse(loss, unit) if loss else NONE for loss in found]
            body.append([dataset, heading(metric, unit), _title(first), ", ".join(map(str, first.severities)), *line])
    return Grid(["Dataset", "Metric", "Corruption", "Severities", *models], body)


def _same(one: Loss, other: Loss) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("dataset", "model", "definition"))


def _cost(loss: Loss) -> float:
    return loss.loss.point if loss.higher_is_better else -loss.loss.point


def _signed(
    loss: Loss, interval: tuple[float, float | None, float | None, str]
) -> tuple[float, float | None, float | None]:
    """Positive where the corruption makes the score worse."""
    point, low, high, _ = interval
    if loss.higher_is_better or low is None or high is None:
        return (point if loss.higher_is_better else -point), low, high
    return -point, -high, -low


def _worse(loss: Loss, unit: str) -> str:
    return with_interval(*_signed(loss, loss.loss), unit)


def _title(loss: Loss) -> str:
    """Of the corruption; its name where no installed package has it."""
    name = loss.corruption or ""
    return CORRUPTIONS[name].title if name in CORRUPTIONS else name


def _data(report: Report) -> Mapping[str, object]:
    return {
        "robustness": [
            asdict(loss) | {k: v._asdict() for k in ("loss", "relative") if (v := getattr(loss, k))}
            for loss in report.losses
        ],
        "mce": [
            asdict(each) | {"error": each.error._asdict() if each.error else None} for each in report.corruption_errors
        ],
    }


SECTIONS.register("robustness")(
    SectionKind(
        name="robustness",
        make=robustness,
        place="table",
        order=85,
        nothing="No trial was evaluated under corruptions: `usfm-bench evaluate --suite NAME --conditions all`.",
        data=_data,
    )
)
