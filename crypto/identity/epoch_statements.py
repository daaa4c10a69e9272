"""Epoch statements: a device says which history of a chat it has, so that a fork is noticed (A05, A06).

A server that shows two halves of a chat two commits of one epoch makes two groups of it. From then on neither half
can open what the other sends: the keys of an epoch depend on all commits before it. So a comparison *inside* such a
message would never be read, and one that is read always agrees. What tells a fork from garbage is a statement that
stands on its own: signed by the device, about one epoch of one chat, readable without the chat's keys. It goes

- along with a message of the chat in its authenticated data, which the epoch's keys do not encrypt: who cannot open
  the message reads why; the first message of each epoch will do;
- inside the messages of another chat of the same people, or between the devices of one account: there a server that
  forks this chat, and lets no message cross, is noticed as well.

In the clear it shows a hash of the epoch authenticator (RFC 9420 §8.7), which tells no more than that two devices are
in one epoch; and which device speaks. The server knows that from its session, but its log does not hold it: a thief of
the database would learn who sent. So beside a message it belongs under a key that both halves have and outsiders have
not, an exporter secret (`Group.export`) of the epoch before; who came later hears of a fork in another chat.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from crypto.errors import ForkDetected, IdentityError
from crypto.identity.accounts import device_id_of
from crypto.identity.signing import Id, Signature, SignedLabel, sign_object, verify_object
from crypto.suites import SignatureKeyPair
from crypto.wire import Fixed, Uint64, encode_opaque, struct

DIGEST_SIZE = 32


@struct
class EpochStatement:
    """`device_id` says: I am in this epoch of this chat, and `digest` stands for the history that led there."""

    device_id: Id
    group_id: bytes
    epoch: Uint64
    digest: Annotated[bytes, Fixed(DIGEST_SIZE)]
    signature: Signature


class Standing(Enum):
    """Where the device that made a statement stands, seen from us. A fork is none of these: it is an error."""

    WITH_US = "with us"
    BEHIND = "behind"
    """It is in an earlier epoch of our history. If its message comes after the commit in the log, it has not been shown
    the commit (A06): it may still write to somebody who was removed."""
    AHEAD = "ahead"
    """It is in an epoch that we have not reached: judge the statement again once we are there."""
    UNKNOWN = "unknown"
    """It is about an epoch before we came, or one that we no longer remember."""


@dataclass(frozen=True, slots=True)
class KnownEpochs:
    """Which history we have of one chat: the digests of its last epochs, `bound` of them. Store it with the group."""

    group_id: bytes
    bound: int
    kept: tuple[tuple[int, bytes], ...] = ()
    """Epoch and digest, the latest last."""

    def remember(self, epoch: int, epoch_authenticator: bytes) -> KnownEpochs:
        """The same with the epoch that we have entered; the oldest beyond the bound is gone."""
        kept = (*self.kept, (epoch, digest_of(self.group_id, epoch, epoch_authenticator)))
        return KnownEpochs(self.group_id, self.bound, kept[max(0, len(kept) - self.bound) :])


def digest_of(group_id: bytes, epoch: int, epoch_authenticator: bytes) -> bytes:
    """What stands for an epoch in a statement, 32 bytes: it reveals nothing about the authenticator."""
    content = encode_opaque(group_id) + epoch.to_bytes(8, "big") + epoch_authenticator
    return hashlib.sha256(b"Sealdesk 1.0 epoch" + content).digest()


def state_epoch(device: SignatureKeyPair, group_id: bytes, epoch: int, epoch_authenticator: bytes) -> EpochStatement:
    """What our device says about the epoch that it is in."""
    digest = digest_of(group_id, epoch, epoch_authenticator)
    unsigned = EpochStatement(device_id_of(device.public), group_id, epoch, digest, signature=b"")
    return sign_object(device, SignedLabel.EPOCH_STATEMENT, unsigned)


def check_epoch_statement(statement: EpochStatement, device_key: bytes, known: KnownEpochs) -> Standing:
    """Compare a statement with our own history. `device_key` is that of a leaf of the chat, by `statement.device_id`.

    Raises `ForkDetected` if the device was led into another history, `AuthenticationError` if it did not sign this,
    `IdentityError` if the statement is of another device or about another chat.
    """
    if statement.device_id != device_id_of(device_key):
        raise IdentityError("the statement is of another device")
    if statement.group_id != known.group_id:
        raise IdentityError("the statement is about another chat")
    verify_object(device_key, SignedLabel.EPOCH_STATEMENT, statement)
    newest = known.kept[-1][0] if known.kept else -1
    if statement.epoch > newest:
        return Standing.AHEAD
    digest = dict(known.kept).get(statement.epoch)
    if digest is None:
        return Standing.UNKNOWN
    if digest != statement.digest:
        raise ForkDetected("this chat has been split: its members were shown different changes of it")
    return Standing.WITH_US if statement.epoch == newest else Standing.BEHIND
