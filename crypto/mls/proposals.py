"""Proposals (RFC 9420 §12.1): the changes that a commit may cover.

Owns the structs; how a list of proposals is judged and applied stands in `proposal_list`. A proposal type that we do
not know has no length of its own, so it cannot be carried: the codec refuses it, and our capabilities never claim it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from crypto.mls.extensions import Extensions
from crypto.mls.headers import ContentType, Outsider, Version
from crypto.mls.key_package import KeyPackage
from crypto.mls.psk import PreSharedKeyID
from crypto.mls.tree_nodes import LeafIndex, LeafNode, UpdatePath
from crypto.wire import Kept, Max, Select, Uint16, Uint32, variant


class ProposalType(IntEnum):
    """Registered proposal types (§17.4)."""

    ADD = 1
    UPDATE = 2
    REMOVE = 3
    PSK = 4
    REINIT = 5
    EXTERNAL_INIT = 6
    GROUP_CONTEXT_EXTENSIONS = 7


@variant(ProposalType.ADD)
class Add:
    """Add the client of a key package (§12.1.1)."""

    key_package: KeyPackage


@variant(ProposalType.UPDATE)
class Update:
    """Replace the sender's own leaf (§12.1.2)."""

    leaf_node: LeafNode


@variant(ProposalType.REMOVE)
class Remove:
    """Remove the member at a leaf index (§12.1.3)."""

    removed: Uint32


@variant(ProposalType.PSK)
class PreSharedKey:
    """Mix a pre-shared key into the next epoch (§12.1.4)."""

    psk: PreSharedKeyID


@variant(ProposalType.REINIT)
class ReInit:
    """End this group in favour of a new one with other parameters (§12.1.5)."""

    group_id: bytes
    version: Version
    cipher_suite: Uint16
    extensions: Extensions


@variant(ProposalType.EXTERNAL_INIT)
class ExternalInit:
    """Start an epoch from outside (§12.1.6)."""

    kem_output: bytes


@variant(ProposalType.GROUP_CONTEXT_EXTENSIONS)
class GroupContextExtensions:
    """Replace the group's extensions (§12.1.7)."""

    extensions: Extensions


AnyProposal = Add | Update | Remove | PreSharedKey | ReInit | ExternalInit | GroupContextExtensions
Proposal = Annotated[AnyProposal, Select(2)]


class ProposalOrRefType(IntEnum):
    """How a commit names a proposal (§12.4)."""

    PROPOSAL = 1
    REFERENCE = 2


@variant(ProposalOrRefType.PROPOSAL)
class ProposalByValue:
    """The proposal itself, from the committer (ProposalOrRef, §12.4)."""

    proposal: Proposal


@variant(ProposalOrRefType.REFERENCE)
class ProposalByReference:
    """The hash of a proposal that was sent before (ProposalOrRef, §12.4; §5.2), KDF.Nh bytes."""

    reference: bytes


ProposalOrRef = Annotated[ProposalByValue | ProposalByReference, Select(1)]

PROPOSALS_MAX = 16_384
"""The most proposals in one commit: what a founder adds at once. Judging so many Adds takes some seconds."""

PENDING_MAX = 1_024
"""How many proposals of one sender an epoch may bring: bounds what a member can make others keep."""


@variant(ContentType.COMMIT)
class Commit(Kept):
    """The proposals that a new epoch applies, and the committer's update path where one is needed (§12.4)."""

    proposals: Annotated[tuple[ProposalOrRef, ...], Max(PROPOSALS_MAX)]
    path: UpdatePath | None


@dataclass(frozen=True, slots=True, eq=False)
class CheckedProposal:
    """A proposal that is valid by itself (§12.1): whoever makes one has judged it, or loads what was judged.

    `proposal_list` does so for members; `external` and `linked_groups` make what only their commits may cover.

    `sender` is a member's leaf, or says in what way its sender is none. `reference` names the message that brought it;
    a proposal inside a commit has none.
    """

    proposal: AnyProposal
    sender: LeafIndex | Outsider
    reference: bytes | None

    @property
    def member(self) -> LeafIndex:
        """The sender of an Update, which only members send."""
        assert isinstance(self.sender, int), "rule F15 has kept others out"
        return self.sender
