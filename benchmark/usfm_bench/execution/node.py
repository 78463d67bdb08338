"""Whether a machine has what the trials of a run need: asked of each before it takes one.

A machine without the data would otherwise fail trial after trial, each within a second, until none is left.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from usfm_bench.core.environment import code_version
from usfm_bench.core.errors import BenchError, listed
from usfm_bench.execution.session import SessionArguments
from usfm_bench.specs.model import resolve
from usfm_bench.specs.trial import TrialSpec


def versions() -> dict[str, str]:
    """Versions of the packages that decide results, without the build's name behind them, and the commit."""
    found = code_version()
    known = {name: version.partition("+")[0] for name, version in found["versions"].items() if version}
    return known | ({"commit": found["git_commit"]} if found["git_commit"] else {})


def version_faults(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """How another machine's packages differ from those of the process that planned the run.

    A commit is compared where both machines use a checkout.
    """
    names = [name for name in here if name != "commit" or name in there]
    return [
        f"{name} is {there.get(name, 'not installed')}, where the run was started {here[name]}"
        for name in names
        if there.get(name) != here[name]
    ]


def missing_inputs(arguments: SessionArguments, trials: Sequence[TrialSpec]) -> list[str]:
    """Data sets and weight files of trials that are not on this machine, in words."""
    by_name = {spec.dataset.name: arguments.data_root / spec.dataset.path for spec in trials if spec.dataset.path}
    faults = [f"data set {name} is not in '{path}'" for name, path in by_name.items() if not path.exists()]
    files = {name: resolve(name).weight_file for name in dict.fromkeys(spec.model for spec in trials)}
    return faults + [
        f"weights of {name} are not in '{path}'"
        for name, path in files.items()
        if path is not None and not path.exists()
    ]


def refusal(faults: Sequence[str]) -> str:
    """Why this machine takes no trial, in one line."""
    return f"machine {socket.gethostname()} takes no trial: {listed(faults, 4)}"


def device_here(wanted: str) -> str:
    """`cpu` or `cuda`, as this machine has it.

    Raises:
        BenchError: `cuda` is asked for and there is none.
    """
    from usfm_bench.training.device import resolve_device

    try:
        return resolve_device(wanted)
    except BenchError as error:
        raise BenchError(refusal([str(error)])) from None
