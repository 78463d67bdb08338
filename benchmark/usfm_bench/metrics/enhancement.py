"""Enhancement metrics: one value an image, from 8-bit grey levels at native size; averaging is done elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError, capped
from usfm_bench.data.sample import Image, Mask
from usfm_bench.metrics.definitions import Definition, Unit, define, primary

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
OF = "images"
"""What `Definition.of` says of these metrics."""
ORDER = ("PSNR", "SSIM", "MSSSIM3", "MAE", "NCC", "LNCC", "CNR", "GCNR", "SSNR", "EDGE")
"""Names in the order of display."""
_RANGE = 255.0
_WINDOW = 11  # pixels: of SSIM (Wang et al.), and of LNCC in USenhance's re-implementation
_LOCAL = 9  # pixels: of the local cosine
_FLAT = 1e-3  # squared levels; the least variance of 121 whole levels that are not all equal is 0.008
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, Wang et al. (2003)
_BAND = 2.0  # pixels on each side of the lesion's border
_SHOWN = 10  # faults in one message


@dataclass(frozen=True)
class Restored:
    """One enhanced image with what it is compared with."""

    output: Image
    """(H, W) grey levels of the enhanced image."""
    target: Image
    """(H, W) grey levels of the good image."""
    lesion: Mask | None = None
    """(H, W), True on the lesion; None where the data set has no masks."""

    @cached_property
    def levels(self) -> Floats:
        """(2, H, W): output and target as doubles."""
        return np.stack([self.output, self.target]).astype(np.float64)

    @cached_property
    def shows_lesion(self) -> bool:
        """Whether there is a lesion, and anything beside it."""
        return self.lesion is not None and bool(self.lesion.any()) and not bool(self.lesion.all())

    @cached_property
    def inside(self) -> Floats:
        """(n,) levels of the output on the lesion; empty where there is none."""
        return np.asarray(self.levels[0][self.lesion]) if self.shows_lesion else np.empty(0)

    @cached_property
    def beside(self) -> Floats:
        """(m,) levels of the output around the lesion: no further from it than the radius of a circle of its area."""
        if self.lesion is None or not self.shows_lesion:
            return np.empty(0)
        near = self._distance <= math.sqrt(self.lesion.sum() / math.pi)
        return np.asarray(self.levels[0][near & ~self.lesion])

    @cached_property
    def _distance(self) -> Floats:
        """(H, W) pixels to the lesion; 0 on it."""
        assert self.lesion is not None
        return _distance_to(self.lesion)

    @cached_property
    def border(self) -> Mask:
        """(H, W) pixels within two pixels of the lesion's border, on either side."""
        assert self.lesion is not None
        within = _distance_to(~self.lesion)
        return np.asarray((self._distance <= _BAND) & (within <= _BAND))


def psnr_of(pair: Restored) -> float:
    """Peak signal-to-noise ratio in dB, for a range of 255; NaN where the images are equal, of which there is none."""
    error = float(np.square(np.subtract(*pair.levels)).mean())
    return 10 * math.log10(_RANGE**2 / error) if error else math.nan


def mae_of(pair: Restored) -> float:
    """Mean absolute error as a share of the range of 255."""
    return float(np.abs(np.subtract(*pair.levels)).mean() / _RANGE)


def ssim_of(pair: Restored) -> float:
    """Structural similarity, scikit-image's; NaN where a side is shorter than the window of 11 pixels."""
    return _ssim(*pair.levels)[0]


def ms_ssim_of(pair: Restored, scales: int) -> float:
    """Multi-scale structural similarity over so many scales, each half as wide; NaN where the last one has no window.

    Contrast and structure of all scales, luminance of the last alone. A negative mean of a scale counts as 0, since its
    power is not real. The weights are the first of the five published ones, divided by their sum.
    """
    weights = np.array(_WEIGHTS[:scales]) / sum(_WEIGHTS[:scales])
    output, target = pair.levels
    value = 1.0
    for scale, weight in enumerate(weights):
        whole, contrast = _ssim(output, target)
        if math.isnan(whole):
            return math.nan
        value *= max(0.0, whole if scale == scales - 1 else contrast) ** weight
        output, target = _halved(output), _halved(target)
    return float(value)


def ncc_of(pair: Restored) -> float:
    """Pearson correlation of the levels; NaN where an image is constant."""
    a, b = (image - image.mean() for image in pair.levels)
    size = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size else math.nan


def lncc_of(pair: Restored) -> float:
    """Mean Pearson correlation over all whole windows of 11 x 11 pixels in which neither image is constant, or NaN."""
    if min(pair.output.shape) < _WINDOW:
        return math.nan
    mean = _window_means(_WINDOW, *pair.levels)
    spread_a, spread_b = mean.aa - mean.a**2, mean.bb - mean.b**2
    used = (spread_a > _FLAT) & (spread_b > _FLAT)
    if not used.any():
        return math.nan
    return float(((mean.ab - mean.a * mean.b)[used] / np.sqrt(spread_a * spread_b)[used]).mean())


def local_cosine_of(pair: Restored) -> float:
    """Mean cosine of the levels over all whole windows of 9 x 9 pixels in which neither image is black, or NaN."""
    if min(pair.output.shape) < _LOCAL:
        return math.nan
    mean = _window_means(_LOCAL, *pair.levels)
    used = (mean.aa > 0) & (mean.bb > 0)
    return float((mean.ab[used] / np.sqrt(mean.aa * mean.bb)[used]).mean()) if used.any() else math.nan


def rexmle_lncc_of(pair: Restored) -> float:
    """LNCC as ReX-MLE's grader of USenhance has it; it gives 1 or 0, never nothing, where no window varies."""
    images = [image.astype(np.float32) for image in (pair.output, pair.target)]
    a, b = ((image - image.min()) / (image.max() - image.min() + 1e-8) for image in images)
    kernel = np.ones((_WINDOW, _WINDOW)) / _WINDOW**2
    mean_a, mean_b, aa, bb, ab = (cv2.filter2D(image, -1, kernel) for image in (a, b, a * a, b * b, a * b))
    spread_a, spread_b = aa - mean_a * mean_a, bb - mean_b * mean_b
    used = (spread_a > 1e-10) & (spread_b > 1e-10)
    if not used.any():
        return 1.0 if np.allclose(a, b) else 0.0
    return float(((ab - mean_a * mean_b)[used] / np.sqrt(spread_a[used] * spread_b[used])).mean())


def cnr_of(pair: Restored) -> float:
    """Contrast-to-noise ratio of the lesion against what is around it; NaN without a lesion, or without noise."""
    a, b = pair.inside, pair.beside
    noise = math.sqrt(float(a.var() + b.var())) if a.size and b.size else 0.0
    return abs(float(a.mean() - b.mean())) / noise if noise else math.nan


def gcnr_of(pair: Restored) -> float:
    """Generalised contrast-to-noise ratio: 1 - overlap of the two histograms of 256 levels; NaN without a lesion."""
    if not pair.inside.size or not pair.beside.size:
        return math.nan
    shares = [np.bincount(part.astype(int), minlength=256) / part.size for part in (pair.inside, pair.beside)]
    return float(1 - np.minimum(*shares).sum())


def ssnr_of(pair: Restored) -> float:
    """Mean over standard deviation of the levels around the lesion; NaN without a lesion, or where nothing varies."""
    spread = float(pair.beside.std()) if pair.beside.size else 0.0
    return float(pair.beside.mean()) / spread if spread else math.nan


def edge_of(pair: Restored) -> float:
    """Mean steepness of the output along the lesion's border, as a share of the range a pixel; NaN without a lesion."""
    if not pair.shows_lesion:
        return math.nan
    across, down = (cv2.Sobel(pair.levels[0], cv2.CV_64F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return float(np.hypot(across, down)[pair.border].mean() / _RANGE)


@dataclass(frozen=True)
class _Means:
    """Means of two images, their squares and their product over every whole window."""

    a: Floats
    b: Floats
    aa: Floats
    bb: Floats
    ab: Floats


def _window_means(side: int, a: Floats, b: Floats) -> _Means:
    whole = slice(side // 2, -(side // 2))
    return _Means(*(cv2.blur(image, (side, side))[whole, whole] for image in (a, b, a * a, b * b, a * b)))


def _ssim(a: Floats, b: Floats) -> tuple[float, float]:
    """SSIM, and its contrast and structure alone, as means over all pixels with a whole window; NaN without any."""
    from skimage.metrics import structural_similarity

    if min(a.shape) < _WINDOW:
        return math.nan, math.nan
    options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
    whole, of_pixels = structural_similarity(a, b, data_range=_RANGE, **options)
    mean_a, mean_b = (
        cv2.GaussianBlur(image, (_WINDOW, _WINDOW), 1.5, borderType=cv2.BORDER_REFLECT) for image in (a, b)
    )
    constant = (0.01 * _RANGE) ** 2
    luminance = (2 * mean_a * mean_b + constant) / (mean_a**2 + mean_b**2 + constant)
    inner = slice(_WINDOW // 2, -(_WINDOW // 2))
    return float(whole), float((of_pixels / luminance)[inner, inner].mean())


def _halved(image: Floats) -> Floats:
    """Means over squares of two pixels; a last odd row or column is left out."""
    height, width = (n - n % 2 for n in image.shape)
    return np.asarray(image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)))


def _distance_to(mask: Mask) -> Floats:
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float64)


# ---- definitions ---------------------------------------------------------------------------------------------------

_WANG = "Wang et al. (2004), doi:10.1109/TIP.2003.819861; scikit-image"
_SCALES = "Wang et al. (2003), doi:10.1109/ACSSC.2003.1292216"
_AROUND = "around: no further from the lesion than the radius of a circle of its area"


def _enter(
    name: str,
    ident: str,
    compute: Callable[[Restored], float],
    formula: str,
    source: str,
    *,
    unit: Unit = "score",
    least: float = 0.0,
    most: float = 1.0,
    primary: bool = True,
    higher_is_better: bool = True,
) -> None:
    about: dict[str, Any] = {"higher_is_better": higher_is_better, "primary": primary, "over": "all"}
    define(
        Definition(name, ident, OF, formula, unit, source, compute, range=(least, most), **about),
    )


_enter(
    *("PSNR", "psnr.native@1", psnr_of),
    "10 log10(255^2 / MSE); undefined where the images are equal",
    "scikit-image, data_range 255",
    unit="dB",
    most=math.inf,
)
_enter(
    *("SSIM", "ssim.native@1", ssim_of),
    "Gaussian window of 11 px, sd 1.5 px, range 255, K 0.01 and 0.03, mean without a border of 5 px",
    _WANG,
    unit="fraction",
    least=-1.0,
)
_enter(
    *("MSSSIM3", "msssim.3scales.native@1", lambda pair: ms_ssim_of(pair, 3)),
    "as MSSSIM over three scales, weights divided by their sum; undefined below 44 px",
    _SCALES,
    unit="fraction",
)
_enter(
    *("MSSSIM", "msssim.native@1", lambda pair: ms_ssim_of(pair, 5)),
    "product over five scales of SSIM's contrast and structure to the published powers, luminance at the last; "
    "undefined below 176 px",
    _SCALES,
    unit="fraction",
    primary=False,
)
_enter(
    *("MAE", "mae.native@1", mae_of),
    "mean |output - target| / 255",
    "mean absolute error",
    unit="fraction",
    higher_is_better=False,
)
_enter(
    *("NCC", "ncc.native@1", ncc_of),
    "Pearson correlation of all levels; undefined where an image is constant",
    "tue-bmd/zea",
    least=-1.0,
)
_enter(
    *("LNCC", "lncc.native@1", lncc_of),
    "mean Pearson correlation over whole windows of 11 x 11 px in which neither image is constant",
    "USenhance 2023 names it; this reading has no range, no border and no epsilon",
    least=-1.0,
)
_enter(
    *("LNCC", "lncc.rexmle.native@1", rexmle_lncc_of),
    "as lncc.native, levels of each image stretched to 0 to 1, borders reflected, windows of variance above 1e-10; "
    "1 or 0 where there is none",
    "rajpurkarlab/ReX-MLE, usenhance/grade.py",
    least=-1.0,
    primary=False,
)
_enter(
    *("LNCC", "lncc.cosine.native@1", local_cosine_of),
    "mean cosine of the levels over whole windows of 9 x 9 px: correlation without taking means away",
    "what code gives that divides window sums twice, such as UWFM's",
    primary=False,
)
_enter(
    *("CNR", "cnr.native@1", cnr_of),
    f"|mean of lesion - mean around| / sqrt(sum of their variances), of the output alone; {_AROUND}",
    "tue-bmd/zea",
    most=math.inf,
)
_enter(
    *("GCNR", "gcnr.256.native@1", gcnr_of),
    f"1 - overlap of the histograms (256 bins) of lesion and around, of the output alone; {_AROUND}",
    "Rodriguez-Molares et al. (2020), doi:10.1109/TUFFC.2019.2956855",
    unit="fraction",
)
_enter(
    *("SSNR", "ssnr.native@1", ssnr_of),
    f"mean / standard deviation of the compressed levels around the lesion, of the output alone; {_AROUND}",
    "Wagner et al. (1983), doi:10.1109/T-SU.1983.31404, there of the uncompressed envelope, where it is 1.91",
    most=math.inf,
)
_enter(
    *("EDGE", "edge.native@1", edge_of),
    "mean size of Sobel's gradient / 255, a pixel, within 2 px of the lesion's border, of the output alone",
    "usfm-bench",
)


def image_definitions() -> list[Definition]:
    """The primary ones, in the order of display."""
    return primary(OF, ORDER)


def score_enhancement(
    outputs: Sequence[Image],
    targets: Sequence[Image],
    lesions: Sequence[Mask | None] | None = None,
    *,
    case_ids: Sequence[str],
    definitions: Sequence[Definition] | None = None,
) -> pd.DataFrame:
    """Every metric of every case, one row a case, in the given order.

    Args:
        outputs: (H, W) uint8 each, the enhanced images.
        targets: the same of the good images.
        lesions: (H, W) bool each, or None where nothing is known of a case; None: of no case.
        case_ids: what the rows are called.
        definitions: what to compute; None: the primary ones.

    Returns:
        Column case_id and one column a definition; NaN where a metric is undefined for an image.

    Raises:
        BenchError: images that do not fit together; names all of them.
    """
    import pandas as pd

    masks = lesions or [None] * len(outputs)
    pairs = [Restored(*parts) for parts in zip(outputs, targets, masks, strict=True)]
    faults = [fault for name, pair in zip(case_ids, pairs, strict=True) if (fault := _fault(name, pair))]
    if faults:
        raise BenchError("\n".join(capped(faults, _SHOWN)))
    wanted = [d for d in definitions or image_definitions() if d.compute is not None]
    columns = {d.column: [d.compute(pair) for pair in pairs] for d in wanted if d.compute is not None}
    return pd.DataFrame({"case_id": list(case_ids), **columns})


def _fault(name: str, pair: Restored) -> str:
    shapes = [pair.output.shape, pair.target.shape, *([] if pair.lesion is None else [pair.lesion.shape])]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        return f"case '{name}': output, target and mask have the shapes {shapes}; they must be equal and (H, W)."
    if pair.output.dtype != np.uint8 or pair.target.dtype != np.uint8:
        return f"case '{name}': levels are {pair.output.dtype} and {pair.target.dtype}; they must be uint8."
    return ""
