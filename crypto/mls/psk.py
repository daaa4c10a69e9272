"""Pre-shared keys (RFC 9420 §8.4)."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from crypto.wire import Select, Uint, Uint16, Uint64, struct, variant


class PSKType(IntEnum):
    """Where a PSK comes from."""

    EXTERNAL = 1
    RESUMPTION = 2


class ResumptionPSKUsage(IntEnum):
    """What a resumption PSK is used for."""

    APPLICATION = 1
    REINIT = 2
    BRANCH = 3


@variant(PSKType.EXTERNAL)
class ExternalPSK:
    """A key that the application gives out under a name."""

    psk_id: bytes


@variant(PSKType.RESUMPTION)
class ResumptionPSK:
    """A key of a former epoch of this or another group (§8.6)."""

    usage: Annotated[ResumptionPSKUsage, Uint(1)]
    psk_group_id: bytes
    psk_epoch: Uint64


@struct
class PreSharedKeyID:
    """Names a PSK; `psk_nonce` is KDF.Nh fresh random bytes."""

    psk: Annotated[ExternalPSK | ResumptionPSK, Select(1)]
    psk_nonce: bytes


@struct
class PSKLabel:
    """The context under which one PSK enters the chain."""

    id: PreSharedKeyID
    index: Uint16
    count: Uint16
