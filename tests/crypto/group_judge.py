"""The judge of a group's random life: what must come of a message, from the tests' own books and before it is tried.

`verdict` and `post_verdict` say whether a client accepts a message or how it refuses it, `covered` what a commit holds,
and `check_staged` compares a commit that was accepted with what its sender wanted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from crypto.mls.extensions import Extension
from crypto.mls.group import StagedCommit
from crypto.mls.proposals import Add, CheckedProposal, GroupContextExtensions, PreSharedKey, Remove, Update
from tests.crypto.forge import UNLISTED
from tests.crypto.group_clients import AnyPSK, Client, Handshake, Post, names_in


@dataclass(frozen=True)
class Wants:
    """What a committer wants beside the proposals of the epoch."""

    adds: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    psks: tuple[AnyPSK, ...] = ()
    extensions: tuple[Extension, ...] | None = None
    with_path: bool = True


def covered(client: Client, wants: Wants) -> list[CheckedProposal]:
    """Which proposals of the epoch a client's commit must cover: all that are valid together (§12.2, §12.4).

    Of those that clash: Remove before Update, the later Update, the committer's own, else what came first.
    """
    group = client.view
    pending, places = group.pending_proposals, names_in(group)
    own_removes = {places[name] for name in wants.removes}
    all_removes = own_removes | {c.proposal.removed for c in pending if isinstance(c.proposal, Remove)}
    last_update = {c.sender: c for c in pending if isinstance(c.proposal, Update)}
    settled, added, extended = {group.own_leaf} | own_removes, set(wants.adds), wants.extensions is not None
    found = []
    for checked in pending:
        match checked.proposal:
            case Remove(removed=leaf):
                is_covered = leaf not in settled
                settled.add(leaf)
            case Update():
                is_covered = last_update[checked.sender] is checked
                is_covered = is_covered and checked.sender not in all_removes | {group.own_leaf}
            case Add(key_package=key_package):
                name = key_package.leaf_node.credential.identity.decode()
                is_covered = name not in added
                added.add(name)
            case PreSharedKey(psk=psk_id):
                is_covered = client.knows_as_member(psk_id.psk)
            case GroupContextExtensions(extensions=extensions):
                is_covered = not extended and UNLISTED not in extensions
                extended = extended or is_covered
            case _:
                is_covered = not (len(pending) > 1 or wants.adds or wants.removes or wants.psks or extended)
        if is_covered:
            found.append(checked)
    return found


def verdict(client: Client, handshake: Handshake) -> str:
    """How a client refuses a handshake message now; empty if it accepts it."""
    group = client.view
    private = not handshake.is_public
    if handshake.group_id != group.group_id:
        return "F1"
    if handshake.epoch != group.epoch:
        return "FutureEpoch" if handshake.epoch > group.epoch else "PastEpoch"
    if group.reinitialised_to is not None:
        return "U15"
    if handshake.by_member and handshake.sender == client.name:
        return "F19"
    if handshake.refusal:
        return handshake.refusal
    if private and handshake.message in client.taken:
        return "GenerationUsed"
    if not handshake.covers <= {checked.reference for checked in group.pending_proposals}:
        return "Q10"
    goes_itself = client.name in handshake.goes
    if not goes_itself and not all(client.knows_as_member(psk) for psk in handshake.psks):
        return "U10"
    return ""


def post_verdict(client: Client, post: Post) -> str:
    """How a client refuses an application message now; empty if it opens it."""
    group = client.view
    if post.group_id != group.group_id:
        return "F1"
    if post.epoch != group.epoch and post.epoch not in client.kept_epochs():
        return "FutureEpoch" if post.epoch > group.epoch else "PastEpoch"
    if post.leaf == group.own_leaf:
        return "F19"
    refusal = client.window(post).refusal(post.generation)
    return "" if refusal is None else refusal.__name__


def check_staged(client: Client, handshake: Handshake, staged: StagedCommit) -> None:
    """A commit shows what its sender wanted, and whom it brings and takes away."""
    by_reference = {c.reference for c in staged.proposals if c.reference is not None}
    assert by_reference == handshake.covers
    assert {member.credential.identity.decode() for member in staged.removed} == handshake.goes
    assert {member.credential.identity.decode() for member in staged.added} == handshake.comes
    assert Counter(staged.psks) == Counter(handshake.psks)
    assert staged.sender.credential.identity.decode() == handshake.sender
    assert staged.is_external is not handshake.by_member
    assert staged.removes_us == (client.name in handshake.goes)
