"""Features of images that an encoder has seen before: in memory, and on disk where a cache was asked for."""

from __future__ import annotations

import hashlib

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_atomic
from usfm_bench.data.cache_folder import cache_folder, make_room, mark_used
from usfm_bench.models.hub import state_sha256
from usfm_bench.models.probes import Probe

_MOST = 10**9  # bytes in memory, and the encoder in use


class KnownFeatures:
    """Rows of one encoder by the bytes of what it was shown; the encoder sees each image once.

    On disk they are `features-<encoder>.safetensors` in the cache, within its limit: hashes of images and numbers, no
    image.
    """

    def __init__(self, encoder: str) -> None:
        folder = cache_folder()
        self._path = None if folder is None else folder / f"features-{encoder}.safetensors"
        self._rows: dict[bytes, Tensor] = {}
        self._saved = 0
        if self._path is not None and self._path.is_file():
            try:
                with safe_open(self._path, framework="pt") as file:
                    names, rows = file.get_tensor("images"), file.get_tensor("features")
                self._rows = {name.numpy().tobytes(): row for name, row in zip(names, rows, strict=True)}
                self._saved = len(self._rows)
            except (SafetensorError, OSError, ValueError):
                self._rows = {}  # damaged: computed again, and written over

    def of(self, probe: Probe, images: Tensor) -> Tensor:
        """(B, 3, S, S), as the encoder takes them -> (B, D) on the same device."""
        names = [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in _bytes(images)]
        new = [i for i, name in enumerate(names) if name not in self._rows]
        if new:
            for i, row in zip(new, probe.vectors(images[new]).cpu(), strict=True):
                self._rows[names[i]] = row
        return torch.stack([self._rows[name] for name in names]).to(images.device)

    @property
    def size(self) -> int:
        """Bytes of its rows."""
        return sum(row.nbytes for row in self._rows.values())

    def keep(self) -> None:
        """Write what is new to the cache, if there is one; a full disk is no reason to stop."""
        if self._path is None or len(self._rows) == self._saved:
            return
        names = torch.stack([torch.frombuffer(bytearray(name), dtype=torch.uint8) for name in self._rows])
        content = save({"images": names, "features": torch.stack(list(self._rows.values()))})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if make_room(self._path, len(content)):
                write_atomic(self._path, lambda stream: stream.write(content))
                mark_used(self._path)
                self._saved = len(self._rows)
        except (BenchError, OSError):
            self._path = None


_known: dict[str, KnownFeatures] = {}


def known_features(probe: Probe, precision: str) -> KnownFeatures:
    """Those of the probe's encoder; of the encoders asked last they stay in memory."""
    encoder = hashlib.sha256(f"{state_sha256(probe.features)} {precision} {type(probe.features)}".encode()).hexdigest()
    found = _known.pop(encoder, None) or KnownFeatures(encoder)
    while _known and sum(each.size for each in _known.values()) + found.size > _MOST:
        del _known[next(iter(_known))]
    _known[encoder] = found
    return found


def _bytes(images: Tensor) -> Tensor:
    return images.detach().float().cpu().contiguous()
