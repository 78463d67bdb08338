"""SegViT's attention-to-mask decoder: class tokens attend to patches, and the attention itself is the mask.

Zhang et al., SegViT: Semantic Segmentation with Plain Vision Transformers, NeurIPS 2022.
"""

from __future__ import annotations

import torch
from segmentation_models_pytorch.losses._functional import soft_dice_score
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

_FOCAL, _DICE, _CLASS, _NO_OBJECT = 20.0, 1.0, 1.0, 0.1


class AttentionToMask(nn.Module):
    """Cross-attention of class tokens to patches that also returns its logits as masks."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, D) tokens, (B, P, D) patches -> (B, K, D) and mask logits (B, K, P), the mean over heads."""
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, ., D/heads)
            for f, x in ((self.query, tokens), (self.key, patches), (self.value, patches))
        )
        logits = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        return self.out((logits.softmax(-1) @ v).transpose(1, 2).flatten(2)), logits.mean(1)


class Layer(nn.Module):
    """Self-attention of the class tokens, attention to the patches, MLP; norms after each, as published."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attention = AttentionToMask(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, tokens: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, D), (B, P, D) -> (B, K, D) and mask logits (B, K, P)."""
        tokens = self.norms[0](tokens + self.self_attention(tokens, tokens, tokens, need_weights=False)[0])
        attended, masks = self.cross_attention(tokens, patches)
        tokens = self.norms[1](tokens + attended)
        return self.norms[2](tokens + self.mlp(tokens)), masks


class SegViTDecoder(nn.Module):
    """One stage per feature map, from deep to shallow; masks of the stages add up.

    A token for the background and one for each structure; one class output more says that it is not in the image.
    Width 384 and 12 heads as published, or the backbone's own width and 32 channels a head where that is smaller.
    """

    def __init__(self, channels: list[int], structures: int = 1, layers: int = 3) -> None:
        super().__init__()
        classes = 1 + structures
        width = min(384, channels[-1])
        heads = max(1, width // 32)
        self.tokens = nn.Parameter(torch.randn(classes, width) * 0.02)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(c, width), nn.LayerNorm(width)) for c in channels[::-1]
        )
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers * len(channels)))
        self.per_stage = layers
        self.classify = nn.Linear(width, classes + 1)

    def forward(self, maps: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Maps from shallow to deep -> for each stage class logits (B, K, K+1) and mask logits (B, K, h, w)."""
        tokens = self.tokens.expand(len(maps[0]), -1, -1)
        outputs: list[tuple[Tensor, Tensor]] = []
        for stage, (feature, projection) in enumerate(zip(maps[::-1], self.projections, strict=True)):
            patches = projection(feature.flatten(2).transpose(1, 2))  # (B, h*w, D)
            masks = torch.empty(0)
            for layer in self.layers[stage * self.per_stage : (stage + 1) * self.per_stage]:
                tokens, masks = layer(tokens, patches)
            masks = masks.reshape(*masks.shape[:2], *feature.shape[-2:])
            outputs.append((self.classify(tokens), outputs[-1][1] + masks if outputs else masks))
        return outputs


def lesion_log_odds(classes: Tensor, masks: Tensor, size: int) -> Tensor:
    """Class logits (B, K, K+1) and masks (B, K, h, w) -> (B, K-1, size, size) log-odds.

    Of a lesion: against the background. Of several structures: of each against its absence, since they may overlap.
    """
    weights = classes.softmax(-1)[..., :-1].diagonal(dim1=-2, dim2=-1)  # (B, K): token k speaks for class k
    scores = weights[..., None, None] * masks.sigmoid()
    scores = F.interpolate(scores, size=(size, size), mode="bilinear", align_corners=False).clamp(min=1e-6)
    if scores.shape[1] > 2:
        return scores[:, 1:].clamp(max=1 - 1e-6).logit()
    return (scores[:, 1:] / scores[:, :1]).log()


def segvit_loss(outputs: list[tuple[Tensor, Tensor]], targets: Tensor) -> Tensor:
    """Focal mask loss x20 + dice x1 + class cross-entropy x1 (no-object weight 0.1), summed over the stages."""
    wanted = torch.cat([1 - targets.amax(1, keepdim=True), targets], dim=1)  # (B, K, S, S), the background first
    stages, n = len(outputs), wanted.shape[1]
    present = wanted.flatten(2).any(-1)  # (B, K)
    classes = torch.cat([classes for classes, _ in outputs]).float()  # (stages * B, K, K+1)
    masks = torch.cat([masks for _, masks in outputs]).float()
    large = F.interpolate(masks, size=targets.shape[-2:], mode="bilinear", align_corners=False)
    truth, kept = wanted.repeat(stages, 1, 1, 1), present.repeat(stages, 1)
    # Masks of absent classes count by 0 and are not left out by an index, for which a GPU's host would have to wait.
    focal = sigmoid_focal_loss(large, truth, reduction="none").mean((-2, -1))
    dice = 1 - soft_dice_score(F.logsigmoid(large).exp(), truth, eps=1e-7, dims=(-2, -1))
    of_masks = _FOCAL * focal + _DICE * dice  # (stages * B, K): background would swamp small lesions in one sum
    labels = torch.where(kept, torch.arange(n, device=targets.device), n)
    balance = F.pad(wanted.new_ones(n), (0, 1), value=_NO_OBJECT)
    of_classes = F.cross_entropy(classes.flatten(0, 1), labels.flatten(), weight=balance)
    return stages * (torch.where(kept, of_masks, 0).sum() / kept.sum() + _CLASS * of_classes)
