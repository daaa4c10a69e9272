"""Looking up pre-shared keys (RFC 9420 §8.4, §8.6): what a commit or a Welcome names, the application or we find.

Owns the lookup, and the naming of a key for one use. The structs, and how keys enter the schedule, are `psk`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crypto.errors import RuleViolation
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK
from crypto.mls.state import GroupState
from crypto.secret import Secret
from crypto.suites import CipherSuite

PSKLookup = Callable[[ExternalPSK | ResumptionPSK], Secret | None]
"""Finds a pre-shared key by its name: the application keeps them. None: not known."""


def generate_psk_id(suite: CipherSuite, psk: ExternalPSK | ResumptionPSK) -> PreSharedKeyID:
    """Name a PSK for one use, with a fresh nonce of KDF.Nh bytes (§12.1.4)."""
    return PreSharedKeyID(psk, suite.generate_secret().reveal())


def no_psks(_psk: ExternalPSK | ResumptionPSK) -> Secret | None:
    """The lookup of an application without pre-shared keys."""
    return None


def own_psks_first(state: GroupState, find_psk: PSKLookup) -> PSKLookup:
    """The caller's lookup, before which stands the one PSK that we know ourselves: the present epoch's (§8.6)."""

    def find(psk: ExternalPSK | ResumptionPSK) -> Secret | None:
        present = (state.context.group_id, state.context.epoch)
        if isinstance(psk, ResumptionPSK) and (psk.psk_group_id, psk.psk_epoch) == present:
            return state.secrets.resumption_psk
        return find_psk(psk)

    return find


def find_psks(rule: str, ids: Sequence[PreSharedKeyID], lookup: PSKLookup) -> list[tuple[PreSharedKeyID, Secret]]:
    """The keys of `ids`, in their order. Raises `RuleViolation` under `rule` (U10 or W3) if one is unknown."""
    found = []
    for psk_id in ids:
        secret = lookup(psk_id.psk)
        if secret is None:
            raise RuleViolation(rule, "a pre-shared key is not known here")
        found.append((psk_id, secret))
    return found
