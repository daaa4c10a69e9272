"""Every error that `crypto` raises, sorted by what the caller should do.

::

    CryptoError
    ├── MLSError
    │   ├── InvalidMessage          drop the input: it changes nothing
    │   │   ├── DecodeError         not the bytes of what was asked for
    │   │   ├── AuthenticationError a signature, MAC or AEAD tag does not hold; one text, no detail
    │   │   └── RuleViolation       against a named rule. Received: drop it. Of ours: ask for something else
    │   │       └── CommitFirst     commit, and ask again
    │   ├── SequenceError           valid bytes at the wrong moment
    │   │   ├── FutureEpoch         wait: an earlier message is missing
    │   │   ├── PastEpoch           drop: its keys are gone
    │   │   ├── GenerationUsed      drop: a replay, or a key already erased
    │   │   └── GenerationTooFar    drop: further ahead than the window
    │   ├── Unsupported             we do not implement what was asked for
    │   └── UsageError              a bug in the calling code
    ├── IdentityError               a person or device is not who it claims to be: drop, tell the user
    │   └── Stale                   what would show it is out of date: fetch the newest, then try again
    ├── PolicyViolation             a member did what its role forbids: drop, tell the user
    ├── ForkDetected                members have different histories of a chat: stop sending there, tell the user
    └── AccessWithdrawn             its owner no longer shows it to us: ask the owner
"""

from __future__ import annotations


class CryptoError(Exception):
    """Base of everything that `crypto` raises on purpose."""


class MLSError(CryptoError):
    """Base of the errors of the group protocol."""


class InvalidMessage(MLSError):
    """The input, or what was asked for, is not acceptable; drop it. No state has changed."""


class DecodeError(InvalidMessage):
    """The bytes are not the encoding of the expected structure (RFC 9420 §2.1)."""


class AuthenticationError(InvalidMessage):
    """A signature, MAC or AEAD tag does not hold.

    All such failures look alike, so that nobody learns from the text which check refused.
    """

    def __init__(self) -> None:
        super().__init__("the message is not authentic")


class RuleViolation(InvalidMessage):
    """A rule of the protocol is broken. `rule` is its id: see `crypto.mls.rules`.

    On receipt the input breaks it, which need not be authentic: some rules are judged before the signature. From an
    operation of ours, what was asked for would break it.
    """

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{text} (rule {rule})")
        self.rule = rule


class CommitFirst(RuleViolation):
    """What was asked for is in order, but a commit must come before it (rules D1 and R8)."""


class SequenceError(MLSError):
    """The input does not fit the present moment of the group."""


class FutureEpoch(SequenceError):
    """The input belongs to an epoch that we have not reached: process what is missing first."""


class PastEpoch(SequenceError):
    """The input belongs to an epoch whose keys we have erased."""


class GenerationUsed(SequenceError):
    """The message key of this generation was used or erased: a replay (RFC 9420 §9.1)."""


class GenerationTooFar(SequenceError):
    """The generation is further ahead than the window allows (RFC 9420 §15.3)."""


class Unsupported(MLSError):
    """A cipher suite, version or feature that we do not implement."""


class UsageError(MLSError):
    """The caller asked for something that the API forbids; fix the calling code."""


class IdentityError(CryptoError):
    """An account, device or certificate is not what it claims to be."""


class Stale(IdentityError):
    """Whether the claim holds cannot be told now: what would show it is missing or out of date. Fetch the newest."""


class PolicyViolation(CryptoError):
    """A member did what its role or the chat's policy forbids."""


class ForkDetected(CryptoError):
    """Members of a chat were led into different histories of it: somebody holds back or swaps commits."""


class AccessWithdrawn(CryptoError):
    """What was shown to us once is shown no longer: nothing is wrong, and only its owner can show it again."""
