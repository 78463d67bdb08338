"""One file per on-disk layout; importing this package registers them all."""

from usfm_bench.data.readers import (
    arrays,
    busi,
    camus,
    coco,
    ddti,
    dicom,
    echonet,
    hc18,
    image_folder,
    labelme,
    manifest,
    masks,
    matlab,
    phantom,
    usfm,
    volume_pairs,
    yolo,
)
from usfm_bench.data.readers.base import READERS, Reader

__all__ = [
    "READERS",
    "Reader",
    "arrays",
    "busi",
    "camus",
    "coco",
    "ddti",
    "dicom",
    "echonet",
    "hc18",
    "image_folder",
    "labelme",
    "manifest",
    "masks",
    "matlab",
    "phantom",
    "usfm",
    "volume_pairs",
    "yolo",
]
