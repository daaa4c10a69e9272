"""Rules for a commit's path and for entering the next epoch (RFC 9420 §12.4).

U2 to U6 and U9 stand in `treekem`, U7 is section L; U10 is `psk_lookup.find_psks`; U11 is
`key_schedule.verify_confirmation_tag`; U12 and U16 hold because a state never changes; U14 is `Group.adopt`.
"""

from __future__ import annotations

from crypto.errors import RuleViolation
from crypto.mls.proposals import ReInit
from crypto.mls.rules.leaf import check_public_key
from crypto.mls.tree_nodes import LeafNode, UpdatePath
from crypto.suites import CipherSuite

EPOCH_MAX = 2**64 - 1


def u1_path_present(path: UpdatePath | None, *, required: bool) -> None:
    """A commit of nothing, or of anything but Add, PreSharedKey and ReInit, has a path, §12.4."""
    if required and path is None:
        raise RuleViolation("U1", "a commit lacks its path")


def u8_committer_key_changes(new: LeafNode, old: LeafNode) -> None:
    """A path brings a new encryption key for the committer's leaf, §12.4.2."""
    if new.encryption_key == old.encryption_key:
        raise RuleViolation("U8", "a path keeps the committer's encryption key")


def u15_group_goes_on(reinit: ReInit | None) -> None:
    """A group that was reinitialised is at its end: nothing is sent and nothing follows, §12.4.2."""
    if reinit is not None:
        raise RuleViolation("U15", "the group has been reinitialised")


def u13_epoch_can_grow(epoch: int) -> None:
    """The epoch goes up by one and does not wrap, §8.1, §12.4.2."""
    if epoch >= EPOCH_MAX:
        raise RuleViolation("U13", "the last epoch there is")


def c8_path_keys(suite: CipherSuite, path: UpdatePath) -> None:
    """Every public key of a path is one of the suite's KEM, §5.1.1.

    We may have to encrypt to a node that we cannot derive, so it is checked before it enters the tree.
    """
    for node in path.nodes:
        check_public_key("C8", suite, node.encryption_key)
