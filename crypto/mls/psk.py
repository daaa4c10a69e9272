"""Pre-shared keys (RFC 9420 §8.4): their names, and how they enter the key schedule.

Does not own the keys themselves: the caller finds each by its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

from crypto.secret import Secret
from crypto.suites import CipherSuite
from crypto.wire import Select, Uint, Uint16, Uint64, encode, struct, variant

PSK_COUNT_MAX = 1_024
"""The most PSKs that a Welcome names, and that we commit at once. PSKLabel could count to 2**16 - 1."""


class PSKType(IntEnum):
    """Where a PSK comes from (§8.4)."""

    EXTERNAL = 1
    RESUMPTION = 2


class ResumptionPSKUsage(IntEnum):
    """What a resumption PSK is used for (§8.4)."""

    APPLICATION = 1
    REINIT = 2
    BRANCH = 3


@variant(PSKType.EXTERNAL)
class ExternalPSK:
    """A key that the application gives out under a name (PreSharedKeyID, §8.4)."""

    psk_id: bytes


@variant(PSKType.RESUMPTION)
class ResumptionPSK:
    """A key of a former epoch of this or another group (PreSharedKeyID, §8.4; §8.6)."""

    usage: Annotated[ResumptionPSKUsage, Uint(1)]
    psk_group_id: bytes
    psk_epoch: Uint64


@struct
class PreSharedKeyID:
    """Names a PSK (§8.4); `psk_nonce` is KDF.Nh fresh random bytes."""

    psk: Annotated[ExternalPSK | ResumptionPSK, Select(1)]
    psk_nonce: bytes


@struct
class PSKLabel:
    """The context under which one PSK enters the chain (§8.4)."""

    id: PreSharedKeyID
    index: Uint16
    count: Uint16


def derive_psk_secret(suite: CipherSuite, psks: Sequence[tuple[PreSharedKeyID, Secret]]) -> Secret:
    """What all pre-shared keys of a commit give to the epoch, KDF.Nh bytes; all zero without any.

    psk_secret, §8.4. The order is that of the PreSharedKey proposals, or of GroupSecrets, and matters.
    """
    psk_secret = suite.zero_secret
    for index, (psk_id, psk) in enumerate(psks):
        label = encode(PSKLabel(psk_id, index, len(psks)))
        extracted = suite.extract(suite.zero_secret, psk)
        psk_input = suite.expand_with_label(extracted, "derived psk", label, suite.hash_size)
        psk_secret = suite.extract(psk_input, psk_secret)
    return psk_secret
