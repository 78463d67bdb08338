"""The recipe of a fine-tuning."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from usfm_bench.core.settings import Settings, later

CORRECTIONS = ("class_weights", "sampling", "logit_adjustment")
"""Settings that each move the class prior of a classifier to a balanced one."""


Reading = Literal["published", "own-norm", "renamed"]
READINGS: tuple[Reading, ...] = get_args(Reading)
"""Ways to use the `norm` of USFM's weight file."""


class TrainingSpec(Settings):
    """The recipe of one fine-tuning, as a profile states it for one task."""

    image_size: int = Field(ge=16)
    """Side of the square network input, in pixels."""
    epochs: int = Field(ge=1)
    """Passes over the training images."""
    warmup_epochs: float = Field(default=0, ge=0)
    """Epochs of linear warm-up."""
    batch_size: int = Field(ge=1)
    """Images a step."""
    lr: float = Field(gt=0)
    """Peak learning rate of AdamW."""
    warmup_lr: float = Field(default=0, ge=0)
    """Learning rate at the first step of the warm-up."""
    min_lr: float = Field(default=0, ge=0)
    """Learning rate at the end of the cosine."""
    lr_scale_batch: int | None = None
    """The three learning rates are multiplied by batch_size / lr_scale_batch; None: taken as they are."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates."""
    eps: float = 1e-8
    """AdamW's epsilon."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's weight decay; biases, norms and position biases have none."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the learning rate from one backbone layer to the one below; 1: the same everywhere."""
    clip_norm: float | None = Field(default=5.0, gt=0)
    """Largest gradient norm; None: no clipping."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device has it in hardware, else fp32."""
    cudnn_attention: bool = later(False)
    """Let torch take cuDNN's attention on a GPU. Off, since several of its releases gave NaN gradients."""
    tf32: bool = later(False)
    """Round products of float32 matrices to TF32 on a GPU, and convolutions too under `precision: fp32`."""
    deterministic: bool = later(False)
    """Take only algorithms that give the same bits each time on one GPU model; slower. A CPU takes no others."""
    cudnn_benchmark: bool = later(False)
    """Let cuDNN time its convolutions for the recipe's one input size and take the fastest."""
    compile: bool = later(False)
    """Compile the network's loss with `torch.compile` in training. Dropout and drop path then draw other numbers."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth of transformer backbones."""
    augment: tuple[Literal["hflip", "vflip", "rot90", "affine", "intensity"], ...] = ()
    """Random changes to training images, each with probability 0.5."""
    decoder: Literal["segvit", "upernet"] | None = None
    """Segmentation decoder of backbones; None in classification."""
    taps: Literal["published", "standardised"] = later("published")
    """What a decoder reads of a plain transformer: outputs of blocks as they are, as the published code does, or each
    channel with mean 0 and variance 1 over batch and pixels: a batch norm without parameters, as in MAE's linear probe
    (He et al. (2022), arXiv:2111.06377)."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the cross-entropy in classification."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: cross-entropy weights n / (classes * n_class), from the training split."""
    sampling: Literal["shuffle", "balanced"] = later("shuffle")
    """`balanced`: every epoch draws as many images of each class, with replacement; its length stays the same."""
    loss: Literal["cross_entropy", "focal"] = later("cross_entropy")
    """Of classification. `focal`: cross-entropy times (1 - p)^focal_gamma; Lin et al. (2017), arXiv:1708.02002."""
    focal_gamma: float = later(2.0, gt=0)
    """Of the focal loss."""
    frequency_loss: float = later(0.0, ge=0)
    """Of enhancement: weight of the focal frequency loss beside L1; Jiang et al. (2021), arXiv:2012.12821."""
    logit_adjustment: float = later(0.0, ge=0)
    """tau: tau log(class prior) is added to logits in training; Menon et al. (2021), arXiv:2007.07314, Eq. (10)."""
    reading: Reading | None = later(None)
    """How the `norm` of USFM's weight file is used in classification (`load_backbone`); segmentation takes outputs of
    blocks, before any last norm. None: `published`, or `own-norm` where the encoder is frozen."""
    lora_rank: int = later(8, ge=1)
    """Rank of the maps that `@lora` trains beside layers of the encoder."""
    lora_alpha: int = later(16, ge=1)
    """Such a map is multiplied by lora_alpha / lora_rank."""
    lora_targets: tuple[str, ...] = later(("attn.qkv", "attn.proj"), min_length=1)
    """Ends of the names of those layers."""
    validate_every: int = Field(default=1, ge=1)
    """Epochs between validations. The checkpoint with the best validation score is kept; test images have no say."""
    threads: int | None = Field(default=None, ge=1)
    """torch threads on a CPU; part of the recipe, since other counts give other bits. None on a GPU."""

    @model_validator(mode="after")
    def _options_go_together(self) -> TrainingSpec:
        faults = []
        defaults = {key: field.default for key, field in type(self).model_fields.items()}
        prior = [key for key in CORRECTIONS if getattr(self, key) != defaults[key]]
        if len(prior) > 1:
            on, off = (" and ".join(f"{k}: {v[k]}" for k in prior) for v in (self.model_dump(), defaults))
            faults.append(f"{on} each correct the class prior, so together more than once; keep one ({off} are off)")
        if self.loss == "focal" and self.label_smoothing:
            faults.append("loss: focal is not defined for smoothed labels; set label_smoothing: 0")
        if self.loss != "focal" and self.focal_gamma != defaults["focal_gamma"]:
            faults.append("focal_gamma is a setting of loss: focal")
        if self.deterministic and self.cudnn_benchmark:
            faults.append(
                "cudnn_benchmark may choose another algorithm each time, which deterministic forbids; keep one"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self
