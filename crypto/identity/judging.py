"""A staged commit in the words of the chat's policy: who wanted what, and whose leaves come and go.

Owns the translation from `crypto.mls.group` to `chat_policy.JudgedCommit`. Who sits at a leaf the caller says, who has
authenticated it before (`device_list.authenticate_leaf`); the verdict is `chat_policy.check_commit`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from crypto.identity.chat_policy import (
    POLICY_EXTENSION,
    AddedLeaf,
    JudgedCommit,
    JudgedReinit,
    LeafOwner,
    RemovedLeaf,
    UpdatedLeaf,
    policy_in,
)
from crypto.mls.extensions import Extension
from crypto.mls.group import Group, Member, StagedCommit
from crypto.mls.proposals import Add, CheckedProposal, GroupContextExtensions, ReInit, Remove
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.tree_nodes import LeafIndex

P = TypeVar("P", Add, GroupContextExtensions, ReInit, Remove)


def judge(
    group: Group,
    staged: StagedCommit,
    *,
    whose: Callable[[Member], LeafOwner],
    is_listed: Callable[[LeafOwner], bool],
) -> JudgedCommit:
    """What `staged` does to `group`, which received it and has not adopted it. Give the result to `check_commit`.

    `whose` says whose a leaf is: the caller has authenticated those that come, now, and the others when they came.
    `is_listed` says whether the newest device list of its account that can be had names the device. It is asked for
    what is removed, and all members must answer alike. Raises `DecodeError` or `PolicyViolation` if there is no policy.
    """
    before = {member.leaf_index: whose(member) for member in group.members}
    renewed = {member.leaf_index: whose(member) for member in staged.updated}
    added = {member.signature_key: whose(member) for member in staged.added}
    committer = whose(staged.sender).account_id

    def wanted(kind: type[P]) -> list[tuple[P, bytes | None]]:
        """The commit's proposals of a kind, each with the account that wanted it; None: somebody outside."""
        return [(each.proposal, by(each)) for each in staged.proposals if isinstance(each.proposal, kind)]

    def by(checked: CheckedProposal) -> bytes | None:
        if staged.is_external:
            return committer
        return before[checked.sender].account_id if isinstance(checked.sender, int) else None

    adders = {staged.sender.signature_key: committer} if staged.is_external else {}
    wanted_adds = adders | {add.key_package.leaf_node.signature_key: who for add, who in wanted(Add)}
    removers = {LeafIndex(remove.removed): who for remove, who in wanted(Remove)}
    stay = [renewed.get(leaf_index, owner) for leaf_index, owner in before.items() if leaf_index not in removers]
    return JudgedCommit(
        committer=committer,
        is_external=staged.is_external,
        proves_former_epoch=any(_is_of_this_chat(group, psk) for psk in staged.psks),
        suite_id=group.suite.id,
        added=tuple(AddedLeaf(leaf, wanted_adds[key]) for key, leaf in added.items()),
        removed=tuple(
            RemovedLeaf(before[leaf_index], who, is_listed(before[leaf_index])) for leaf_index, who in removers.items()
        ),
        updated=tuple(UpdatedLeaf(before[leaf_index], after) for leaf_index, after in renewed.items()),
        accounts_after=frozenset(leaf.account_id for leaf in (*stay, *added.values())),
        policy=policy_in(staged.extensions),
        policy_by=next((who for _, who in wanted(GroupContextExtensions)), None),
        changed_extensions=_changed(group.extensions, staged.extensions),
        reinit=next((_judged_reinit(group, reinit, who) for reinit, who in wanted(ReInit)), None),
    )


def _judged_reinit(group: Group, reinit: ReInit, by: bytes | None) -> JudgedReinit:
    changed = _changed(group.extensions, reinit.extensions)
    return JudgedReinit(by, reinit.cipher_suite, policy_in(reinit.extensions), changed)


def _is_of_this_chat(group: Group, psk: ExternalPSK | ResumptionPSK) -> bool:
    """Whether a key is one that only members of this chat have had; that the epoch is past, its being known says."""
    return (
        isinstance(psk, ResumptionPSK)
        and psk.usage is ResumptionPSKUsage.APPLICATION
        and psk.psk_group_id == group.group_id
    )


def _changed(before: tuple[Extension, ...], after: tuple[Extension, ...]) -> frozenset[int]:
    """The types of all extensions but the policy that came, went or say something else."""
    different = set(before) ^ set(after)
    return frozenset(each.extension_type for each in different) - {POLICY_EXTENSION}
