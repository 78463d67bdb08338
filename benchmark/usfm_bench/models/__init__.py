"""Networks from model names. Importing this package registers the USFM backbones with timm."""

from usfm_bench.models import backbones
from usfm_bench.models.build import build_model
from usfm_bench.models.embedding import embed
from usfm_bench.models.weights import load_backbone

__all__ = ["backbones", "build_model", "embed", "load_backbone"]
