"""Families of models, one file each. Importing this registers them all, and imports neither torch nor timm."""

from usfm_bench.models.zoo import timm, unet, usfm

__all__ = ["timm", "unet", "usfm"]
