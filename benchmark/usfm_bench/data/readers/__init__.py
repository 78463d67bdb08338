"""One file per on-disk layout; importing this package registers them all."""

from usfm_bench.data.readers import (
    busi,
    camus,
    coco,
    ddti,
    dicom,
    echonet,
    hc18,
    image_folder,
    manifest,
    masks,
    matlab,
    phantom,
    usfm,
    volume_pairs,
)
from usfm_bench.data.readers.base import READERS, Reader

__all__ = [
    "READERS",
    "Reader",
    "busi",
    "camus",
    "coco",
    "ddti",
    "dicom",
    "echonet",
    "hc18",
    "image_folder",
    "manifest",
    "masks",
    "matlab",
    "phantom",
    "usfm",
    "volume_pairs",
]
