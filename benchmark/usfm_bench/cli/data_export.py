"""`usfm-bench data export`: a copy that is small enough to carry, or a store to pre-train from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import DATA_ROOT, CacheFolder, DataRoot, RegistryFile, TextFormat, split_names
from usfm_bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from usfm_bench.specs.dataset import DatasetSpec
    from usfm_bench.specs.pretraining import WhichImages

EXAMPLES = (
    "Examples: `usfm-bench data export busi --size 256 --out busi-256px.zip` · `usfm-bench data export "
    "busi,phantom-unlabelled --pretrain --size 224 --out stores/two`, then `usfm-bench pretrain --store stores/two "
    "--out mine.pth`"
)
_STORE = "With --pretrain"


def export(
    name: Annotated[str, typer.Argument(help="A data set of the registry; with --pretrain also several, as a,b.")],
    size: Annotated[
        int,
        typer.Option(
            min=16, help="Longer side of an image at most, in pixels; with --pretrain the side of the square input."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="File to write, ending in .zip or .tar; with --pretrain a folder. It holds patient images."),
    ],
    pretrain: Annotated[
        bool, typer.Option("--pretrain", help="Write a store of images alone, which `pretrain --store` reads.")
    ] = False,
    all_images: Annotated[bool, typer.Option("--all-images", help="Test images too.", rich_help_panel=_STORE)] = False,
    split_seed: Annotated[
        int, typer.Option(min=0, help="Split seed of the suites to come.", rich_help_panel=_STORE)
    ] = 0,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    cache: CacheFolder = None,
    form: TextFormat = typer.Option(TextFormat.text, "--format", help="How to print."),
) -> None:
    """Write a compact copy: smaller images and masks, a list, and a registry entry; or a store to pre-train from."""
    from usfm_bench.specs.dataset import load_registry

    specs = load_registry(registry)
    if pretrain:
        from usfm_bench.specs.pretraining import WhichImages

        names = tuple(split_names(name))
        if not names:
            raise BenchError("data export: no data set is named.")
        which = WhichImages(datasets=names, all_images=all_images, split_seed=split_seed, image_size=size)
        print_facts(_export_store(which, specs, data_root, out), form)
        return
    if all_images or split_seed:
        raise BenchError("--all-images and --split-seed choose images for pre-training: they need --pretrain.")
    from usfm_bench.data.audit.export import check_ending, export_dataset
    from usfm_bench.data.dataset import open_dataset
    from usfm_bench.specs.dataset import find_dataset

    check_ending(out)
    print_facts(export_dataset(open_dataset(find_dataset(name, specs), data_root), size, out), form)


def _export_store(
    which: WhichImages, registry: Mapping[str, DatasetSpec], data_root: Path, out: Path
) -> dict[str, Any]:
    """Facts of the store that was written."""
    from usfm_bench.cli.progress import CountProgress
    from usfm_bench.pretraining.data import gather
    from usfm_bench.pretraining.store import IMAGES, check_new, write_store

    check_new(out)
    seen = gather(which, registry, data_root)
    with CountProgress("images", len(seen.samples)) as progress:
        facts = write_store(seen, which, out, lambda written: progress.advance("", written))
    return {
        "folder": str(out),
        "bytes": (out / IMAGES).stat().st_size,
        "images": facts.images,
        **{name: f"{found['images']} images, {found['side']}" for name, found in facts.sources.items()},
        "to use it": f"usfm-bench pretrain --store {out} --out FILE",
    }
