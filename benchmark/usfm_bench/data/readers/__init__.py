"""One file per on-disk layout; importing this package registers them all."""

from usfm_bench.data.readers import busi, camus, dicom, hc18, image_folder, manifest, masks, phantom, usfm
from usfm_bench.data.readers.base import READERS, Reader

__all__ = [
    "READERS",
    "Reader",
    "busi",
    "camus",
    "dicom",
    "hc18",
    "image_folder",
    "manifest",
    "masks",
    "phantom",
    "usfm",
]
