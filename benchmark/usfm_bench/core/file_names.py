"""Names as files and folders."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_LONGEST = 255  # bytes of a file's name on all usual file systems


def encode_name(name: str) -> str:
    """A name as a folder: percent-encoded outside [A-Za-z0-9._-], never `.` or `..`, and of 255 bytes at most.

    Of a longer one, the end is replaced by `~`, which no other encoded name has, and a hash of the whole.

    >>> encode_name("timm:resnet18@scratch")
    'timm%3Aresnet18%40scratch'
    """
    encoded = quote(name, safe="", errors="surrogatepass").replace("~", "%7E")
    if len(encoded) > _LONGEST:
        return f"{encoded[:200]}~{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:32]}"
    return encoded.replace(".", "%2E") if set(encoded) == {"."} else encoded
