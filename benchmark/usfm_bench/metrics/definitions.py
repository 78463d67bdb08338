"""What each number is: id with version, formula, rule, grid, unit, range, and what empty masks get."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from usfm_bench.core.errors import BenchError, did_you_mean
from usfm_bench.core.registry import Registry

Unit = Literal["fraction", "px", "mm", "dB", "score"]
Averaging = Literal["", "macro", "weighted", "class", "binary"]


@dataclass(frozen=True)
class Definition:
    """One metric, as it stands in records, tables and JSON rows."""

    name: str
    """Heading in tables, such as HD95."""
    id: str
    """Changes its version whenever the same predictions would give another number."""
    of: str
    """What it is computed from: `masks`, `labels` (with class probabilities), `images`, or what another task tells."""
    formula: str
    unit: Unit
    """`fraction`: shown in percent; `score`: a number without a unit, such as MCC."""
    source: str
    """Paper, or code whose rule it is."""
    compute: Callable[..., float] | None = field(default=None, repr=False, compare=False)
    """Of a `Pair` of masks, of a `Restored` image, or of (N, C) probabilities and (N,) labels; of one class, C is 2 and
    that class the second. None: `stats.delete_one` has a closed form of it, with which intervals cost less."""
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool = True
    grid: str = "native"
    """`native`, or a key of `metrics.grids.GRIDS`: how the reference comes to the network's grid."""
    needs_spacing: bool = False
    """Computed in millimetres, so undefined where the spacing is unknown."""
    both_empty: str = ""
    """Value when prediction and reference are empty."""
    prediction_empty: str = ""
    """Value for a missed lesion."""
    reference_empty: str = ""
    """Value for a false alarm."""
    averaging: Averaging = ""
    """Classification: over classes, one against the rest; `class`: each; `binary`: the class named in the id."""
    positive: str | None = None
    """The class of a `binary` id."""
    primary: bool = False
    """Computed for every trial and shown in every report."""
    over: Literal["lesions", "all"] = "lesions"
    """Which images a segmentation mean is over."""
    tuned: str = ""
    """What validation cases chose for it: `temperature`, or a key of `metrics.operating.RULES`."""
    base: str = ""
    """Id of the same metric without that; of a metric of several structures, id of the same of one mask."""
    structure: str | None = None
    """Segmentation of several structures: the one that it is of; None: the mean over them, if there are several."""
    emulates: str | None = None
    """Repository whose code's number this is; such a number is for comparison with that code only."""

    @property
    def column(self) -> str:
        """Its column in `cases.parquet`: the name, with `_mm` for millimetres; the id where that is not primary."""
        if not self.primary:
            return self.id
        return self.about(f"{self.name}_mm" if self.unit == "mm" else self.name)

    def about(self, column: str) -> str:
        """A column of `cases.parquet`, such as `missed`, of the structure that this metric is of."""
        return column if self.structure is None else f"{column}[{self.structure}]"


DEFINITIONS: Registry[Definition] = Registry("definition", home="usfm_bench.metrics")
FAMILIES: dict[str, Callable[[re.Match[str]], Definition | None]] = {}
"""Patterns of ids with a number or a name in them, and what builds their definitions; None: the id is of no metric."""


def define(definition: Definition) -> Definition:
    """Enter a definition; its id must be new."""
    return DEFINITIONS.register(definition.id)(definition)


def find_definitions(names: Iterable[str]) -> list[Definition]:
    """The definitions behind ids (their version may be left out) and names of emulators, in the order given.

    >>> [d.unit for d in find_definitions(["hd95.pooled.native.px@1", "nsd.3px.native"])]
    ['px', 'fraction']

    Raises:
        BenchError: unknown names, all at once, each with the nearest known one.
    """
    found: dict[str, Definition] = {}
    faults = []
    for name in names:
        try:
            matches = _find(name)
        except BenchError as error:
            faults.append(str(error))
            continue
        found |= {d.id: d for d in matches}
        if not matches:
            near = did_you_mean(name, [*DEFINITIONS, *emulators()])
            faults.append(f"Unknown definition '{name}'.{near} `usfm-bench score --list` shows all.")
    if faults:
        raise BenchError("\n".join(faults))
    return list(found.values())


def known_definitions(names: Iterable[str]) -> list[Definition]:
    """Like `find_definitions`, without those that this version does not know."""
    return [definition for name in names for definition in _find(name)]


_VERSIONS = (2, 1)
"""Of definitions, the newest first."""


def _find(name: str) -> list[Definition]:
    for full in [name] if re.search(r"@\d+$", name) else [f"{name}@{version}" for version in _VERSIONS]:
        if full in DEFINITIONS:
            return [DEFINITIONS[full]]
        for pattern, build in FAMILIES.items():
            if (match := re.fullmatch(pattern, full, re.DOTALL)) and (built := build(match)):
                return [built]
    return [d for d in DEFINITIONS.values() if d.emulates == name]


def emulators() -> list[str]:
    """Names of the repositories that can be emulated."""
    return sorted({d.emulates for d in DEFINITIONS.values() if d.emulates})


def primary(of: str, order: Sequence[str]) -> list[Definition]:
    """What every trial is scored with, by the names in `order`, others behind them; millimetres last."""
    rank = {name: i for i, name in enumerate(order)}
    chosen = [d for d in DEFINITIONS.values() if d.of == of and d.primary]
    return sorted(chosen, key=lambda d: (d.unit == "mm", rank.get(d.name, len(rank))))


def excluding(definition: Definition) -> Definition | None:
    """The same metric with missed lesions left out; None where there is no such."""
    stem, _, version = (definition.base or definition.id).partition("@")
    if f"{stem}.exclude@{version}" not in DEFINITIONS:
        return None
    return known_definitions([definition.id.replace(stem, f"{stem}.exclude", 1)])[0]


def of_one_mask(ident: str) -> str:
    """Id of the metric of one mask that one of several structures stands for; any other id as it is."""
    return next((d.base for d in known_definitions([ident]) if d.of == "masks" and d.base), ident)
