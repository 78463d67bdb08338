"""Families of models, one file each. Importing this registers them all, and imports neither torch nor timm."""

from usfm_bench.models.zoo import (
    beit,
    clip,
    deblurringmim,
    dino,
    efficientnet_lite,
    endofm,
    mae,
    misfm,
    mocov3,
    own,
    sam,
    simclr,
    timm,
    tinyusfm,
    unet,
    usfm,
)

__all__ = [
    "beit",
    "clip",
    "deblurringmim",
    "dino",
    "efficientnet_lite",
    "endofm",
    "mae",
    "misfm",
    "mocov3",
    "own",
    "sam",
    "simclr",
    "timm",
    "tinyusfm",
    "unet",
    "usfm",
]
