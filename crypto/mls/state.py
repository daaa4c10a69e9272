"""The state of one member in one epoch of a group: what proposals, commits and messages are judged by.

Owns the data and how an epoch begins. A state never changes; the next one shares all that stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from crypto.mls.config import GroupConfig
from crypto.mls.key_schedule import EpochSecrets, GroupContext, KeptSecrets, interim_transcript_hash
from crypto.mls.proposals import CheckedProposal, ReInit
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Member, Roster
from crypto.mls.secret_tree import SecretTree
from crypto.mls.tree_nodes import LeafIndex, LeafNode, NodeIndex
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair


@dataclass(frozen=True, slots=True, eq=False)
class GroupState:
    """All that a member knows in an epoch."""

    suite: CipherSuite
    config: GroupConfig
    signer: SignatureKeyPair
    own_leaf: LeafIndex
    context: GroupContext
    encoded_context: bytes
    """`context`, encoded: it enters every signature."""
    interim_transcript_hash: bytes
    confirmation_tag: bytes
    secrets: KeptSecrets
    secret_tree: SecretTree
    tree: RatchetTree
    private_keys: Mapping[NodeIndex, Secret]
    """HPKE private keys: of our leaf, and of the ancestors that we know."""
    roster: Roster
    proposals: Mapping[bytes, CheckedProposal]
    """Proposals of this epoch by their reference, in the order in which they came."""
    update_keys: Mapping[bytes, Secret]
    """Private keys of our own Update proposals of this epoch, by public key."""
    former: tuple[FormerEpoch, ...]
    """The epochs before this one of which late messages can be opened, the latest last."""
    reinit: ReInit | None
    """What the commit that began this epoch reinitialises the group to: then it is at its end (rule U15)."""

    def leaf(self, leaf_index: LeafIndex) -> LeafNode:
        """The leaf of a member that is known to be there."""
        leaf = self.tree.leaf(leaf_index)
        assert leaf is not None, "the caller has checked that this leaf is occupied"
        return leaf


@dataclass(frozen=True, slots=True, eq=False)
class FormerEpoch:
    """What is left of an epoch after its end: see `former_epochs`."""

    epoch: int
    encoded_context: bytes
    sender_data_secret: Secret
    secret_tree: SecretTree
    replaced: Mapping[LeafIndex, Member | None]
    """Who sat at each leaf that holds somebody or something else now; None where it was blank."""


NO_PROPOSALS: Mapping[bytes, CheckedProposal] = MappingProxyType({})
NO_KEYS: Mapping[bytes, Secret] = MappingProxyType({})


def state_in_epoch(
    *,
    suite: CipherSuite,
    config: GroupConfig,
    signer: SignatureKeyPair,
    own_leaf: LeafIndex,
    context: GroupContext,
    encoded_context: bytes,
    confirmation_tag: bytes,
    secrets: EpochSecrets,
    tree: RatchetTree,
    roster: Roster,
    private_keys: Mapping[NodeIndex, Secret],
    former: tuple[FormerEpoch, ...] = (),
    reinit: ReInit | None = None,
) -> GroupState:
    """The state of a member at the beginning of an epoch: nothing proposed, nothing sent (rule P10)."""
    return GroupState(
        suite=suite,
        config=config,
        signer=signer,
        own_leaf=own_leaf,
        context=context,
        encoded_context=encoded_context,
        interim_transcript_hash=interim_transcript_hash(suite, context.confirmed_transcript_hash, confirmation_tag),
        confirmation_tag=confirmation_tag,
        secrets=secrets.kept(),
        secret_tree=SecretTree(suite, tree.leaf_count, secrets.encryption_secret),
        tree=tree,
        private_keys=private_keys,
        roster=roster,
        proposals=NO_PROPOSALS,
        update_keys=NO_KEYS,
        former=former,
        reinit=reinit,
    )
