"""What may go wrong with an image, one file each; importing this package registers the shipped ones."""

from usfm_bench.data.corruptions import blur, gain
from usfm_bench.data.corruptions.base import CORRUPTIONS, SEVERITIES, Corruption, corrupt

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "blur", "corrupt", "gain"]
