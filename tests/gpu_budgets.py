"""What one training step of each network of the profile `paper` may cost on a GPU; the numbers that CI guards.

They were counted on a CUDA device that computes nothing (torch 2.14.1, CUDA 13.0, sm_90), with 2 % of room, since a new
torch or timm may launch a few kernels more. One that is exceeded is a fault or a choice: raise it with its reason.
"""

from typing import Any, NamedTuple


class Budget(NamedTuple):
    task: str
    model: str
    changes: dict[str, Any]
    """Keys of the recipe that differ from the profile's."""
    launches: int
    """Kernels, matrix products and convolutions. A launch costs the host 5 to 15 us: small networks wait for it."""
    copies: int
    """From the host. Images lie on the device: what is left is one tensor that says which images are flipped or turned,
    64 bytes in segmentation; the classifiers' recipe changes no image."""
    peak_mb: int
    """Most that torch's allocator holds, in MiB: whether a card of 24 GB will do."""


BUDGETS = {
    "SegViT, ViT-B 512": Budget("segmentation", "usfm-scratch", {}, 2472, 1, 9510),
    "UPerNet, ViT-B 512": Budget("segmentation", "usfm-scratch", {"decoder": "upernet"}, 1448, 1, 24150),
    "UPerNet, ConvNeXt-T 512": Budget(
        "segmentation", "timm:convnext_tiny@scratch", {"decoder": "upernet"}, 1271, 1, 18990
    ),
    "U-Net, ResNet-18 512": Budget("segmentation", "unet-resnet18-scratch", {}, 635, 1, 3290),
    "classifier, ViT-B 224": Budget("classification", "usfm-scratch", {}, 1076, 0, 6090),
    "classifier, ResNet-50 224": Budget("classification", "timm:resnet50@scratch", {}, 1030, 0, 3220),
}
SYNCHRONISATIONS = 0
"""A step waits for the device nowhere: losses are fetched once an epoch. Each wait leaves the device idle meanwhile."""
FP32_PRODUCTS = 0
"""Under bf16 no matrix product is in float32, which is 8 to 15 times as slow on an H100."""
