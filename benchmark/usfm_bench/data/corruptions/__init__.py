"""What may go wrong with an image, a file a kind; importing this package registers the shipped ones."""

from usfm_bench.data.corruptions import (
    artefacts,
    blur,
    depth,
    gain,
    geometry,
    medmnistc,
    noise,
    overlay,
    resolution,
)
from usfm_bench.data.corruptions.base import CORRUPTIONS, SEVERITIES, Corruption, chosen, corrupt, corrupt_sample

__all__ = [
    "CORRUPTIONS",
    "SEVERITIES",
    "Corruption",
    "artefacts",
    "blur",
    "chosen",
    "corrupt",
    "corrupt_sample",
    "depth",
    "gain",
    "geometry",
    "medmnistc",
    "noise",
    "overlay",
    "resolution",
]
