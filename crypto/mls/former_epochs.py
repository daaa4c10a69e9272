"""Former epochs (RFC 9420 §15.3): what a member keeps to open application messages that come late.

Owns how much is kept, and who sat where at the time. A `state.FormerEpoch` holds its message keys and its GroupContext,
which every signature covers; of its members only those whose leaf has changed hands since: the others are the present
ones. So an epoch costs what has changed in it, and a message shows the sender that it had, whoever sits there now (rule
F17).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from crypto.mls.ratchet_tree import RatchetTree
from crypto.mls.roster import Member, member_at
from crypto.mls.state import FormerEpoch, GroupState
from crypto.mls.tree_nodes import LeafIndex


def remember(state: GroupState, tree: RatchetTree, touched: Iterable[LeafIndex]) -> tuple[FormerEpoch, ...]:
    """The former epochs in the epoch after `state`, its own the latest; the oldest beyond the bound are gone.

    `tree` is the new epoch's, `touched` are the leaves in which it may differ (rules S3, D3: the number is bounded).
    """
    bound = state.config.former_epochs_max
    if bound == 0:
        return ()
    replaced: dict[LeafIndex, Member | None] = {}
    for leaf_index in touched:
        before = member_at(state.tree, leaf_index)
        if before != member_at(tree, leaf_index):
            replaced[leaf_index] = before
    own = FormerEpoch(
        state.context.epoch,
        state.encoded_context,
        state.secrets.sender_data_secret,
        state.secret_tree,
        MappingProxyType(replaced),
    )
    older = state.former[-(bound - 1) :] if bound > 1 else ()
    return (*[_moved_on(former, replaced) for former in older], own)


def _moved_on(former: FormerEpoch, replaced: Mapping[LeafIndex, Member | None]) -> FormerEpoch:
    """An older epoch, when more leaves have changed hands: who sat there first stays on record."""
    if all(leaf_index in former.replaced for leaf_index in replaced):
        return former
    return replace(former, replaced=MappingProxyType({**replaced, **former.replaced}))


def caught_up(after: Iterable[FormerEpoch], present: GroupState) -> tuple[FormerEpoch, ...]:
    """The former epochs of a state that was made earlier, with the message keys that are left now (rule R1).

    `present` is in the epoch before that state: what it has opened, or forgotten, since the state was made stays so.
    """
    left = {former.epoch: former.secret_tree for former in present.former}
    left[present.context.epoch] = present.secret_tree
    return tuple(replace(former, secret_tree=left[former.epoch]) for former in after if former.epoch in left)


def sender_in(former: FormerEpoch, tree: RatchetTree, leaf_index: LeafIndex) -> tuple[Member | None, bool]:
    """Who sat at a leaf in a former epoch, and whether that is so today; `tree` is the present one."""
    if leaf_index in former.replaced:
        return former.replaced[leaf_index], False
    return member_at(tree, leaf_index), True
