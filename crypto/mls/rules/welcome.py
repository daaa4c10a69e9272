"""Rules for a Welcome and its GroupInfo (RFC 9420 §12.4.3).

W2 and W10 are `AuthenticationError`s of `joining`, W7 stands in `group_info`. W13 holds because nothing looks for an
extension that we do not know. W14 and W15 are the application's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from crypto.errors import RuleViolation
from crypto.mls.credentials import AnyCredential
from crypto.mls.extensions import GREASE, Extension
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.key_schedule import GroupContext
from crypto.mls.proposals import ReInit
from crypto.mls.psk import PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.rules.extensions import require_support
from crypto.mls.rules.proposal_list import p4_psk_nonce, q7_psk_ids_unique
from crypto.mls.tree_math import direct_path, node_of
from crypto.mls.tree_nodes import Capabilities, LeafIndex, LeafNode, NodeIndex, ParentNode
from crypto.mls.treekem import PrivateKeys
from crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome
from crypto.suites import CipherSuite


def w1_one_entry_is_ours(
    welcome: Welcome, bundles: Mapping[bytes, KeyPackageBundle]
) -> tuple[EncryptedGroupSecrets, KeyPackageBundle]:
    """Exactly one entry is for a key package that we hold, and of its suite, §12.4.3.1. `bundles` go by reference."""
    ours = [entry for entry in welcome.secrets if entry.new_member in bundles]
    if len(ours) != 1:
        raise RuleViolation("W1", "not exactly one entry of the Welcome is for us")
    bundle = bundles[ours[0].new_member]
    if bundle.key_package.cipher_suite != welcome.cipher_suite:
        raise RuleViolation("W1", "the Welcome is not of our key package's suite")
    return ours[0], bundle


def check_group_secrets(suite: CipherSuite, secrets: GroupSecrets) -> None:
    """Apply what a commit's PSKs must fulfil to those of a Welcome, and the size of the joiner secret (§12.4.3.1).

    Else a joiner could follow its committer to where no member goes.
    """
    c8_joiner_secret(suite, secrets)
    for psk_id in secrets.psks:
        p4_psk_nonce(suite, psk_id)
    q7_psk_ids_unique(secrets.psks)


def c8_joiner_secret(suite: CipherSuite, secrets: GroupSecrets) -> None:
    """A joiner secret is KDF.Nh bytes, §8: HMAC would take a shorter one, or one with zeros behind it, for another."""
    if len(secrets.joiner_secret) != suite.hash_size:
        raise RuleViolation("C8", "a joiner secret of the wrong size")


def w3_reinit_or_branch_alone(psk_ids: Sequence[PreSharedKeyID]) -> ResumptionPSK | None:
    """At most one PSK of a Welcome is for reinit or branch, §12.4.3.1; returns it."""
    special = [
        psk_id.psk
        for psk_id in psk_ids
        if isinstance(psk_id.psk, ResumptionPSK) and psk_id.psk.usage != ResumptionPSKUsage.APPLICATION
    ]
    if len(special) > 1:
        raise RuleViolation("W3", "two PSKs for reinit or branch")
    return special[0] if special else None


def w4_signer_is_member(tree: RatchetTree, group_info: GroupInfo) -> LeafNode:
    """The signer of a GroupInfo is a member, §12.4.3.1; returns its leaf, under whose key the signature is verified."""
    leaf = tree.leaf(LeafIndex(group_info.signer))
    if leaf is None:
        raise RuleViolation("W4", "the signer of the GroupInfo is no member")
    return leaf


def w5_group_is_new(group_id: bytes, held_groups: Collection[bytes]) -> None:
    """We are in no group of that id, §12.4.3.1."""
    if group_id in held_groups:
        raise RuleViolation("W5", "a Welcome into a group that we are in")


def w6_suites_agree(group_info: GroupInfo, bundle: KeyPackageBundle) -> None:
    """GroupInfo and key package are of one suite, §12.4.3.1; there is one version only."""
    if group_info.group_context.cipher_suite != bundle.key_package.cipher_suite:
        raise RuleViolation("W6", "the GroupInfo is not of our key package's suite")


def w8_our_leaf(tree: RatchetTree, leaf: LeafNode, signer: int) -> LeafIndex:
    """A leaf identical to our key package's is in the tree, and it is not the signer's, §12.4.3.1."""
    for leaf_index, found in tree.occupied():
        if found.encryption_key == leaf.encryption_key and found == leaf and leaf_index != signer:
            return leaf_index
    raise RuleViolation("W8", "our leaf is not in the tree, or is the signer's")


def w9_ancestors_known(tree: RatchetTree, own_leaf: LeafIndex, private_keys: PrivateKeys) -> None:
    """We hold the key of each ancestor that does not list us as unmerged, as §4.2 says of every member.

    A check of our own: the RFC lets a Welcome leave out our path secret, and without it we could not follow the
    commits of others. Refused now, nobody is surprised later.
    """
    for index in direct_path(node_of(own_leaf), tree.leaf_count):
        node = tree.node(NodeIndex(index))
        if isinstance(node, ParentNode) and own_leaf not in node.unmerged_leaves and index not in private_keys:
            raise RuleViolation("W9", "the Welcome lacks the key of one of our ancestors")


def w11_link_present(link: ResumptionPSK | None, reinit: ReInit | None) -> None:
    """A group that is said to follow from another mixes in a PSK that only members of that one know, §11.2, §11.3.

    If the other was reinitialised, the PSK is for that.
    """
    if link is None or (reinit is not None and link.usage != ResumptionPSKUsage.REINIT):
        raise RuleViolation("W11", "a Welcome that does not show that it follows from the group before")


def w11_first_epoch(context: GroupContext) -> None:
    """A group that continues another or is a branch of it has one commit behind it, §11.2, §11.3."""
    if context.epoch != 1:
        raise RuleViolation("W11", "a reinitialised group or a branch beyond its first epoch")


def w11_as_promised(psk: ResumptionPSK, context: GroupContext, old: GroupContext, reinit: ReInit | None) -> None:
    """A reinitialised group has the parameters of the ReInit in the last commit of the group that it names, §11.2."""
    if (psk.psk_group_id, psk.psk_epoch) != (old.group_id, old.epoch) or reinit is None:
        raise RuleViolation("W11", "the group that is said to be reinitialised was not")
    promised = (reinit.group_id, reinit.version, reinit.cipher_suite, reinit.extensions)
    if (context.group_id, context.version, context.cipher_suite, context.extensions) != promised:
        raise RuleViolation("W11", "the new group is not the one that the ReInit names")


def w11_same_parameters(psk: ResumptionPSK, context: GroupContext, old: GroupContext) -> None:
    """A branch has version and suite of the group that it names, §11.3.

    The epoch that it names may be over: a commit may cross the Welcome, and who has kept that epoch's PSK can enter.
    Its members are compared with those of now: so whoever was removed since brings nobody into a branch.
    """
    if psk.psk_group_id != old.group_id:
        raise RuleViolation("W11", "a branch of another group")
    if (context.version, context.cipher_suite) != (old.version, old.cipher_suite):
        raise RuleViolation("W11", "a branch with another version or cipher suite")


def w11_each_is_among(
    some: Collection[AnyCredential],
    others: Collection[AnyCredential],
    same_client: Callable[[AnyCredential, AnyCredential], bool],
) -> None:
    """All of a group are in the one that continues it, §11.2; all of a branch are in the group that it is of, §11.3."""
    for credential in set(some).difference(others):
        if not any(same_client(credential, other) for other in others):
            raise RuleViolation("W11", "a reinitialised group without, or a branch with, somebody else")


def w12_we_support(listed: Capabilities, extensions: tuple[Extension, ...]) -> None:
    """We support every GroupContext extension and meet its requirements, §13.4.

    `listed` is what our leaf says. The value for GREASE in it is a claim that nothing stands behind (§13.5).
    """
    capabilities = Capabilities(
        listed.versions,
        listed.cipher_suites,
        tuple(value for value in listed.extensions if value not in GREASE),
        tuple(value for value in listed.proposals if value not in GREASE),
        tuple(value for value in listed.credentials if value not in GREASE),
    )
    require_support("W12", capabilities, extensions)
