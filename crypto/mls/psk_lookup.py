"""Looking up pre-shared keys (RFC 9420 §8.4, §8.6): what a commit or a Welcome names, the application or we find.

Owns the lookup, the naming of a key for one use, and the keeping of former epochs' keys. The structs, and how keys
enter the schedule, are `psk`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crypto.errors import RuleViolation
from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK
from crypto.mls.state import GroupState
from crypto.secret import Secret
from crypto.suites import CipherSuite

PSKLookup = Callable[[ExternalPSK | ResumptionPSK], Secret | None]
"""Finds a pre-shared key by its name: the application keeps them. None: not known.

When we commit, what others propose is covered if it is found: so find only what all members can know (rule U10).
"""


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


@dataclass(frozen=True, slots=True)
class KeptPSKs:
    """The resumption PSKs of the last epochs of any number of groups (§8.6), `psks_max` of them (rule S3).

    A value like a group: store it with the state after which it was made. `find` is a lookup for `Group` and `join`.
    """

    psks_max: int
    kept: tuple[tuple[bytes, int, Secret], ...] = ()
    """Group id, epoch and key, the latest last."""

    def remember(self, group_id: bytes, epoch: int, psk: Secret) -> KeptPSKs:
        """The same with one more; the oldest beyond `psks_max` is gone."""
        others = tuple(item for item in self.kept if item[:2] != (group_id, epoch))
        all_kept = (*others, (group_id, epoch, psk))
        return KeptPSKs(self.psks_max, all_kept[max(0, len(all_kept) - self.psks_max) :])

    def find(self, psk: ExternalPSK | ResumptionPSK) -> Secret | None:
        """The key of a name, if it is kept."""
        if isinstance(psk, ResumptionPSK):
            for group_id, epoch, secret in self.kept:
                if (group_id, epoch) == (psk.psk_group_id, psk.psk_epoch):
                    return secret
        return None
