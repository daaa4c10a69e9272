"""The public module of a group (RFC 9420): its ways in, and what `group_view` has for its members.

Ways in: create a group, join by Welcome, join by oneself (external commit), continue a reinitialised group, branch.
A `Group` is a frozen value: one member's view of one epoch. Every operation returns the next `Group`, or raises and
leaves everything as it was. The rules for the caller:

- Store the returned group, in one transaction with what it sends or shows, before that leaves or is shown.
- A commit of ours is pending until the delivery service says that it won: then `group.adopt(pending.next_epoch)`. If
  another commit won, drop it with its Welcome, process the other and say again what was wanted.
- A commit of others is staged: look at who comes, goes and changes, and only then `group.adopt(staged)`.
- Who a member is, and what it may do, is for the caller to judge: this module checks the protocol.
- `now` is in Unix seconds. For a message that waited somewhere it is the time when it was sent, as far as known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from crypto.errors import DecodeError, UsageError
from crypto.mls import group_info, proposing
from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.creation import generate_group_state
from crypto.mls.credentials import AnyCredential
from crypto.mls.extensions import Extension
from crypto.mls.external import create_external_commit
from crypto.mls.group_info import VerifiedGroupInfo
from crypto.mls.group_view import (
    ApplicationMessage,
    Group,
    NextEpoch,
    PendingCommit,
    Received,
    ReceivedProposal,
    StagedCommit,
    pending_commit,
)
from crypto.mls.headers import ExternalSenderIndex, NewMemberProposalSender
from crypto.mls.joining import open_welcome
from crypto.mls.key_package import KeyPackageBundle
from crypto.mls.linked_groups import generate_first_commit
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.own_leaf import generate_key_package, generate_leaf_contents
from crypto.mls.proposals import Add, AnyProposal
from crypto.mls.psk import ExternalPSK, ResumptionPSK, ResumptionPSKUsage
from crypto.mls.psk_lookup import KeptPSKs, PSKLookup, generate_psk_id, no_psks
from crypto.mls.roster import Member, member_of
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import LeafIndex, Lifetime
from crypto.mls.verified_key_package import VerifiedKeyPackage, verify_key_package
from crypto.mls.welcome import GroupInfo, Welcome
from crypto.suites import CipherSuite, SignatureKeyPair, suite_of

__all__ = [
    "ApplicationMessage",
    "Group",
    "GroupConfig",
    "KeptPSKs",
    "KeyPackageBundle",
    "Member",
    "NextEpoch",
    "PendingCommit",
    "PendingJoin",
    "Received",
    "ReceivedProposal",
    "StagedCommit",
    "StagedJoin",
    "VerifiedGroupInfo",
    "VerifiedKeyPackage",
    "branch",
    "create_group",
    "encode_message",
    "external_join",
    "generate_key_package",
    "join",
    "propose_as_external_sender",
    "propose_own_addition",
    "reinitialise",
    "verify_group_info",
    "verify_key_package",
]


@dataclass(frozen=True, slots=True, eq=False)
class StagedJoin:
    """A valid Welcome, not yet accepted. Judge who is there and who invites before `accept`."""

    inviter: Member
    """Who has signed the GroupInfo, and so vouches for the group.

    With a path secret in the Welcome it is the member whose commit adds us; without one it need not be."""
    used_reference: bytes
    """The key package that this uses up: erase its private keys, unless it is a last-resort one."""
    state: GroupState = field(repr=False)

    @property
    def group_id(self) -> bytes:
        """The group that we would enter."""
        return self.state.context.group_id

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody who would be in the group, us included."""
        return Group(self.state).members

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The GroupContext's extensions."""
        return self.state.context.extensions

    def accept(self) -> Group:
        """Enter the group."""
        return Group(self.state)


@dataclass(frozen=True, slots=True, eq=False)
class PendingJoin:
    """An external commit of ours that the delivery service has not accepted yet."""

    next_group: Group
    """The group with us in it, ours when the commit is accepted. If another commit won, start anew."""
    message: bytes


def create_group(
    suite: CipherSuite,
    group_id: bytes,
    credential: AnyCredential,
    signer: SignatureKeyPair,
    *,
    lifetime: Lifetime,
    now: int,
    extensions: tuple[Extension, ...] = (),
    supported_extensions: tuple[int, ...] = (),
    leaf_extensions: tuple[Extension, ...] = (),
    config: GroupConfig = DEFAULT_CONFIG,
) -> Group:
    """A new group with us as its only member, in epoch 0 (§11). Choose `group_id` at random, KDF.Nh bytes.

    `extensions` are the GroupContext's. `supported_extensions` are the types of leaf and GroupContext extensions that
    the application gives a meaning, and `leaf_extensions` what our leaf carries.
    """
    contents = generate_leaf_contents(credential, signer, supported_extensions, leaf_extensions)
    state = generate_group_state(
        suite, group_id, contents, signer, lifetime=lifetime, now=now, extensions=extensions, config=config
    )
    return Group(state)


def join(
    welcome: bytes,
    bundles: Mapping[bytes, KeyPackageBundle],
    signer: SignatureKeyPair,
    *,
    now: int,
    held_groups: Collection[bytes] = (),
    ratchet_tree: bytes | None = None,
    find_psk: PSKLookup = no_psks,
    previous: Group | None = None,
    config: GroupConfig = DEFAULT_CONFIG,
) -> StagedJoin:
    """Enter a group by Welcome (§12.4.3.1).

    `bundles` are our key packages by reference, `held_groups` the ids of the groups that we are in. `ratchet_tree` is
    the encoded tree, needed if the Welcome does not hold it. `previous` is the group that this one continues after a
    ReInit, or is a branch of: without it, a Welcome that claims either is refused (rule W11).
    Raises `InvalidMessage` or `Unsupported`.
    """
    body = decode_message(welcome).body
    if not isinstance(body, Welcome):
        raise DecodeError("the message is not a Welcome")
    state, inviter, used_reference = open_welcome(
        body,
        bundles,
        signer,
        config=config,
        held_groups=held_groups,
        ratchet_tree=ratchet_tree,
        find_psk=find_psk,
        now=now,
        previous=None if previous is None else previous.state,
    )
    return StagedJoin(member_of(inviter, state.leaf(inviter)), used_reference, state)


def verify_group_info(
    message: bytes, *, now: int, ratchet_tree: bytes | None = None, config: GroupConfig = DEFAULT_CONFIG
) -> VerifiedGroupInfo:
    """Check what `Group.group_info` made (§12.4.3), before `external_join`: see who is there and who vouches for it.

    Raises `InvalidMessage` or `Unsupported`.
    """
    body = decode_message(message).body
    if not isinstance(body, GroupInfo):
        raise DecodeError("the message is not a GroupInfo")
    return group_info.verify_group_info(body, ratchet_tree, config, now)


def external_join(
    verified: VerifiedGroupInfo,
    credential: AnyCredential,
    signer: SignatureKeyPair,
    *,
    removes: LeafIndex | None = None,
    psks: Sequence[ExternalPSK | ResumptionPSK] = (),
    find_psk: PSKLookup = no_psks,
    authenticated_data: bytes = b"",
    supported_extensions: tuple[int, ...] = (),
    leaf_extensions: tuple[Extension, ...] = (),
    config: GroupConfig = DEFAULT_CONFIG,
) -> PendingJoin:
    """Join by oneself (§12.4.3.2). `removes` is our former leaf, if we come back; `psks` prove what members ask for.

    The message is public, and anybody who sees it sees who joins. Raises `RuleViolation`.
    """
    state, message = create_external_commit(
        verified,
        generate_leaf_contents(credential, signer, supported_extensions, leaf_extensions),
        signer,
        removed=removes,
        psk_ids=[generate_psk_id(verified.suite, psk) for psk in psks],
        find_psk=find_psk,
        authenticated_data=authenticated_data,
        config=config,
    )
    return PendingJoin(Group(state), message)


def reinitialise(
    old: Group,
    adds: Sequence[VerifiedKeyPackage],
    credential: AnyCredential,
    signer: SignatureKeyPair,
    *,
    lifetime: Lifetime,
    now: int,
    supported_extensions: tuple[int, ...] = (),
    leaf_extensions: tuple[Extension, ...] = (),
) -> PendingCommit:
    """Make the group to which `old` was reinitialised, with all its other members in `adds` (§11.2).

    `signer` is of the new group's suite. Only the Welcome is for others: `PendingCommit.group` is the new group before
    anybody was added, and adopts the next epoch. Raises `RuleViolation` W11 if somebody is missing, and `UsageError` if
    `old` goes on.
    """
    reinit = old.reinitialised_to
    if reinit is None:
        raise UsageError("the group has not been reinitialised")
    contents = generate_leaf_contents(credential, signer, supported_extensions, leaf_extensions)
    new = generate_group_state(
        suite_of(reinit.cipher_suite),
        reinit.group_id,
        contents,
        signer,
        lifetime=lifetime,
        now=now,
        extensions=reinit.extensions,
        config=old.state.config,
    )
    return pending_commit(new, generate_first_commit(old.state, new, ResumptionPSKUsage.REINIT, adds, now))


def branch(
    old: Group,
    group_id: bytes,
    adds: Sequence[VerifiedKeyPackage],
    *,
    lifetime: Lifetime,
    now: int,
    extensions: tuple[Extension, ...] = (),
) -> PendingCommit:
    """Make a group of us and some other members of `old`, who are in `adds` (§11.3). Our leaf says what it says there.

    As with `reinitialise`, only the Welcome is for others. Raises `RuleViolation` W11 if somebody is no member.
    """
    state = old.state
    new = generate_group_state(
        state.suite,
        group_id,
        state.leaf(state.own_leaf).contents,
        state.signer,
        lifetime=lifetime,
        now=now,
        extensions=extensions,
        config=state.config,
    )
    return pending_commit(new, generate_first_commit(old.state, new, ResumptionPSKUsage.BRANCH, adds, now))


def propose_as_external_sender(
    suite: CipherSuite, group_id: bytes, epoch: int, sender_index: int, signer: SignatureKeyPair, proposal: AnyProposal
) -> bytes:
    """A proposal of somebody whom the group lists as its external sender number `sender_index` (§12.1.8.1).

    Raises `RuleViolation` F15 for a proposal that is for members only.
    """
    sender = ExternalSenderIndex(sender_index)
    return proposing.propose_from_outside(suite, group_id, epoch, sender, signer, proposal)


def propose_own_addition(bundle: KeyPackageBundle, signer: SignatureKeyPair, group_id: bytes, epoch: int) -> bytes:
    """A client's proposal to be added by its own key package (§12.1.8)."""
    suite, proposal = suite_of(bundle.key_package.cipher_suite), Add(bundle.key_package)
    return proposing.propose_from_outside(suite, group_id, epoch, NewMemberProposalSender(), signer, proposal)
