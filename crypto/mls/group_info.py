"""GroupInfo (RFC 9420 §12.4.3): what a member tells of its group to those who join, and how they check it.

Owns its making, its signature, and the checks that joining by Welcome and by external commit have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.errors import RuleViolation
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import (
    Extension,
    ExtensionType,
    ExternalPub,
    find_extension,
    generate_grease_extension,
)
from crypto.mls.key_schedule import external_key_pair
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Member, Roster, member_of
from crypto.mls.rules import extensions as extension_rules
from crypto.mls.rules import welcome as rules
from crypto.mls.rules.tree import check_tree
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import LeafIndex, RatchetTreeNodes
from crypto.mls.welcome import GroupInfo
from crypto.suites import CipherSuite, SignatureKeyPair, suite_of
from crypto.wire import decode_as, encode, encode_as, encode_unsigned


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedGroupInfo:
    """A GroupInfo that a member has signed, with the tree that it names. Only this module makes one.

    It says how the group was in one epoch: whether that is the present one, only the members can tell (rule X7).
    """

    suite: CipherSuite
    group_info: GroupInfo
    tree: RatchetTree
    roster: Roster

    @property
    def group_id(self) -> bytes:
        """Which group it is."""
        return self.group_info.group_context.group_id

    @property
    def epoch(self) -> int:
        """As of when. A client that comes back knows an epoch that this must not be before."""
        return self.group_info.group_context.epoch

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The GroupContext's extensions."""
        return self.group_info.group_context.extensions

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody in the group, from left to right."""
        return tuple(member_of(leaf_index, leaf) for leaf_index, leaf in self.tree.occupied())

    @property
    def signer(self) -> Member:
        """The member who vouches for it."""
        leaf_index = LeafIndex(self.group_info.signer)
        leaf = self.tree.leaf(leaf_index)
        assert leaf is not None, "rule W4 holds"
        return member_of(leaf_index, leaf)


def generate_group_info(state: GroupState, *, ratchet_tree: bool, external_pub: bool) -> GroupInfo:
    """A signed GroupInfo of the present epoch, with an extension that means nothing (§12.4.3, §13.5)."""
    extensions = [generate_grease_extension()]
    if ratchet_tree:
        extensions.append(Extension(ExtensionType.RATCHET_TREE, encode_as(RatchetTreeNodes, state.tree.export())))
    if external_pub:
        public = external_key_pair(state.suite, state.secrets.external_secret).public
        extensions.append(Extension(ExtensionType.EXTERNAL_PUB, encode(ExternalPub(public))))
    unsigned = GroupInfo(state.context, tuple(extensions), state.confirmation_tag, state.own_leaf, b"")
    return sign_group_info(state.suite, state.signer, unsigned)


def sign_group_info(suite: CipherSuite, signer: SignatureKeyPair, unsigned: GroupInfo) -> GroupInfo:
    """The same GroupInfo with its signature (§12.4.3)."""
    signature = suite.sign_with_label(signer, "GroupInfoTBS", encode_unsigned(unsigned))
    return GroupInfo(unsigned.group_context, unsigned.extensions, unsigned.confirmation_tag, unsigned.signer, signature)


def verify_group_info(
    group_info: GroupInfo, ratchet_tree: bytes | None, config: GroupConfig, now: int
) -> VerifiedGroupInfo:
    """Apply all rules that need no secret (§12.4.3.1). `ratchet_tree` is the encoded tree if it comes separately.

    Raises `InvalidMessage`, or `Unsupported` for a suite that we do not have.
    """
    context = group_info.group_context
    suite = suite_of(context.cipher_suite)
    extension_rules.check_group_context_extensions(context.extensions)
    extension_rules.l17_group_info_extensions(group_info.extensions)
    extension_rules.l18_extension_types_unique(group_info.extensions)
    tree = _tree(suite, group_info, ratchet_tree)
    roster = check_tree(tree, context, config, now)
    signer_leaf = rules.w4_signer_is_member(tree, group_info)
    tbs = encode_unsigned(group_info)
    suite.verify_with_label(signer_leaf.signature_key, "GroupInfoTBS", tbs, group_info.signature)
    return VerifiedGroupInfo(suite, group_info, tree, roster)


def _tree(suite: CipherSuite, group_info: GroupInfo, ratchet_tree: bytes | None) -> RatchetTree:
    """The tree from the GroupInfo, or else the one that came separately (§12.4.3.3)."""
    encoded = find_extension(group_info.extensions, ExtensionType.RATCHET_TREE)
    if encoded is None:
        encoded = ratchet_tree
    if encoded is None:
        raise RuleViolation("W7", "no ratchet tree came with the GroupInfo")
    return RatchetTree.of_nodes(suite, decode_as(RatchetTreeNodes, encoded))
