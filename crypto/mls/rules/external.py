"""Rules for external commits (RFC 9420 §12.2, §12.4.3.2), by which a client joins or comes back by itself.

X6 is F10: the message is verified under the key in its own path. X9 holds because the
path's leaf is verified for the leftmost blank place and for no other. X10 (may this client join?) is the application's.
"""

from __future__ import annotations

from collections.abc import Sequence

from crypto.errors import DecodeError, RuleViolation
from crypto.mls.config import GroupConfig
from crypto.mls.extensions import Extension, ExtensionType, ExternalPub, find_extension
from crypto.mls.key_schedule import receive_external_init
from crypto.mls.proposals import AnyProposal, Commit, ExternalInit, PreSharedKey, ProposalByReference, Remove
from crypto.mls.rules.leaf import check_public_key
from crypto.mls.tree_nodes import LeafNode, UpdatePath
from crypto.secret import Secret
from crypto.suites import CipherSuite
from crypto.wire import decode


def check_list(proposals: Sequence[AnyProposal]) -> None:
    """Apply the rules that need the list alone."""
    x1_one_external_init(proposals)
    x2_one_remove(proposals)
    x3_nothing_else(proposals)


def x1_one_external_init(proposals: Sequence[AnyProposal]) -> None:
    """An external commit has exactly one ExternalInit, §12.2."""
    if sum(isinstance(proposal, ExternalInit) for proposal in proposals) != 1:
        raise RuleViolation("X1", "not exactly one ExternalInit in an external commit")


def x2_one_remove(proposals: Sequence[AnyProposal]) -> None:
    """An external commit removes at most one member, §12.2: its sender as it was."""
    if sum(isinstance(proposal, Remove) for proposal in proposals) > 1:
        raise RuleViolation("X2", "an external commit removes two members")


def x2_removes_own_old_leaf(config: GroupConfig, old: LeafNode, new: LeafNode) -> None:
    """The member that an external commit removes is the client that joins, §12.2, with a new key, §12.1.2.

    `config.same_client` knows which credentials are of one client.
    """
    if not config.same_client(old.credential, new.credential):
        raise RuleViolation("X2", "an external commit removes somebody else")
    if old.encryption_key == new.encryption_key:
        raise RuleViolation("X2", "a client comes back with its old encryption key")


def x3_nothing_else(proposals: Sequence[AnyProposal]) -> None:
    """Besides, an external commit holds PreSharedKey proposals only, §12.2."""
    if not all(isinstance(proposal, ExternalInit | Remove | PreSharedKey) for proposal in proposals):
        raise RuleViolation("X3", "a proposal that does not belong in an external commit")


def x4_path_present(commit: Commit) -> UpdatePath:
    """An external commit has a path, §12.4.3.2; returns it."""
    if commit.path is None:
        raise RuleViolation("X4", "an external commit without a path")
    return commit.path


def x5_by_value(commit: Commit) -> list[AnyProposal]:
    """An external commit names no proposal by reference, §12.4.3.2; returns what it holds by value."""
    proposals = []
    for named in commit.proposals:
        if isinstance(named, ProposalByReference):
            raise RuleViolation("X5", "an external commit names a proposal by reference")
        proposals.append(named.proposal)
    return proposals


def x7_external_pub(suite: CipherSuite, extensions: tuple[Extension, ...]) -> bytes:
    """The GroupInfo by which a client joins has the group's external key, §12.4.3.2; returns the key."""
    data = find_extension(extensions, ExtensionType.EXTERNAL_PUB)
    if data is None:
        raise RuleViolation("X7", "a GroupInfo without an external key")
    external_pub = decode(ExternalPub, data).external_pub
    check_public_key("X7", suite, external_pub)
    return external_pub


def x8_init_secret(suite: CipherSuite, external_secret: Secret, proposals: Sequence[AnyProposal]) -> Secret:
    """The KEM output of an ExternalInit decapsulates, §8.3; returns the init secret that it holds."""
    (kem_output,) = (proposal.kem_output for proposal in proposals if isinstance(proposal, ExternalInit))
    try:
        return receive_external_init(suite, external_secret, kem_output)
    except DecodeError as error:
        raise RuleViolation("X8", "an ExternalInit that does not decapsulate") from error
