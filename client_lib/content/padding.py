"""Sizes that message content is padded to, so that a ciphertext's size says little about the text.

The padding itself is MLS PrivateMessage padding (RFC 9420 §6.3.1); this module only names the bucket.
"""

from __future__ import annotations

from typing import Final

SMALL_STEP: Final = 256
SMALL_MAX: Final = 1024


def padded_size(size: int) -> int:
    """The bucket, in bytes, of content of `size` bytes.

    Up to 1 KiB the buckets are 256, 512, 768 and 1,024: most messages share the first. Above, each doubling is cut into
    eight: 1,152, 1,280, ..., 2,048, 2,304, ...; so at most 12.5 % is added, and the size of any content up to 224 KiB
    falls into one of 66 classes. A bucket's own bucket is itself.
    """
    if size < 0:
        raise ValueError("a size cannot be negative")
    step = SMALL_STEP if size <= SMALL_MAX else 1 << ((size - 1).bit_length() - 4)
    return max(SMALL_STEP, -(-size // step) * step)
