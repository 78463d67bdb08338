"""`usfm-bench predict`: masks or class probabilities for new images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.options import Device
from usfm_bench.cli.run import require_training
from usfm_bench.core.errors import BenchError, capped
from usfm_bench.core.pipe_table import printable_lines

EXAMPLES = (
    "Examples: `usfm-bench predict reports/runs/busi-seg/busi-lesion/usfm/paper/fold-0/seed-0 scan.png --out masks` · "
    "`usfm-bench predict TRIAL ~/new-images IM0001.dcm volume.nii.gz --out masks`. For research alone: nothing that it "
    "writes is for use on patients."
)


def predict(
    trial: Annotated[
        Path, typer.Argument(help="Folder of a finished trial, down to seed-N: its kept weights are used.")
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Images, or folders of them: PNG, JPEG and the like, DICOM with one frame or many, NIfTI, MetaImage.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the masks or the table; new, or of the same command before.")],
    device: Annotated[Device, typer.Option(help="auto takes a GPU where there is one.")] = Device.auto,
) -> None:
    """Masks (PNG, or NIfTI for NIfTI; 255 on the lesion) or class probabilities (predictions.csv) for new images."""
    from usfm_bench.cli.progress import CountProgress
    from usfm_bench.data.new_images import find_new_images

    require_training()
    from usfm_bench.execution.prediction import Outcome, begin, predict_files
    from usfm_bench.execution.trained import open_trained
    from usfm_bench.training.device import resolve_device

    found = find_new_images(paths, out)
    if not found.files:
        raise BenchError("\n".join(found.faults))
    trained = open_trained(trial, resolve_device(device.value))
    begin(out, trained, paths)
    with CountProgress("files", len(found.files)) as progress:
        for note in found.notes:
            progress.say(note)

        def tell(outcome: Outcome) -> None:
            progress.advance(outcome.file.name)

        ended = predict_files(trained, found.files, out, tell)
    faults = [*found.faults, *(outcome.fault for outcome in ended if outcome.fault is not None)]
    done = sum(outcome.fault is None for outcome in ended)
    if not done:
        raise BenchError("\n".join(faults))
    for line in capped(faults):
        typer.echo(printable_lines(f"not predicted: {line}"), err=True)
    typer.echo(f"{done} of {done + len(faults)} files: {out}")
    raise typer.Exit(1 if faults else 0)
