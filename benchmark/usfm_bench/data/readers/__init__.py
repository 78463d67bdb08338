"""One file per on-disk layout; importing this package registers them all."""

from usfm_bench.data.readers import busi, image_folder, manifest, phantom
from usfm_bench.data.readers.base import READERS, Reader

__all__ = ["READERS", "Reader", "busi", "image_folder", "manifest", "phantom"]
