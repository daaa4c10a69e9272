"""The group as its users see it (RFC 9420): create, join, send, receive, propose, commit.

A `Group` is a frozen value: one member's view of one epoch. Every operation returns the next `Group`, or raises and
leaves everything as it was. The rules for the caller:

- Store the returned group, in one transaction with what it sends or shows, before that leaves or is shown.
- A commit of ours is pending until the delivery service says that it won: then adopt `PendingCommit.next_group`. If
  another commit won, drop it with its Welcome, process the other and say again what was wanted.
- A commit of others is staged: look at who comes, goes and changes, and only then `merge`.
- Who a member is, and what it may do, is for the caller to judge: this module checks the protocol.
- `now` is in Unix seconds. For a message that waited somewhere it is the time when it was sent, as far as known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from crypto.errors import DecodeError, UsageError
from crypto.mls import key_schedule, messages, proposing
from crypto.mls.commit import ProcessedCommit, create_commit, process_commit
from crypto.mls.config import DEFAULT_CONFIG, GroupConfig
from crypto.mls.creation import generate_group_state
from crypto.mls.credentials import AnyCredential
from crypto.mls.extensions import Extension
from crypto.mls.framing import ApplicationContent, ProposalContent, WireFormat, decode_message, encode_message
from crypto.mls.joining import OpenedWelcome, create_welcome, open_welcome
from crypto.mls.key_package import KeyPackageBundle, generate_key_package
from crypto.mls.proposal_list import check_proposal, checked_add, choose_proposals
from crypto.mls.proposals import AnyProposal, CheckedProposal, Commit, GroupContextExtensions, PreSharedKey, Remove
from crypto.mls.psk import ExternalPSK, ResumptionPSK
from crypto.mls.roster import Member, member_of
from crypto.mls.rules import message as message_rules
from crypto.mls.state import GroupState, PSKLookup, no_psks
from crypto.mls.tree_nodes import LeafIndex, Lifetime
from crypto.mls.verified_key_package import VerifiedKeyPackage, verify_key_package
from crypto.mls.welcome import Welcome
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair

__all__ = [
    "ApplicationMessage",
    "Group",
    "GroupConfig",
    "KeyPackageBundle",
    "Member",
    "PendingCommit",
    "Received",
    "ReceivedProposal",
    "StagedCommit",
    "StagedJoin",
    "VerifiedKeyPackage",
    "create_group",
    "generate_key_package",
    "join",
    "verify_key_package",
]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One member's view of a group in one epoch."""

    state: GroupState = field(repr=False)
    """For `snapshot` and tests; callers use the properties."""

    @property
    def group_id(self) -> bytes:
        """The name of the group, chosen by its creator."""
        return self.state.context.group_id

    @property
    def epoch(self) -> int:
        """How many commits the group has seen."""
        return self.state.context.epoch

    @property
    def suite(self) -> CipherSuite:
        """The cipher suite, which never changes."""
        return self.state.suite

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The GroupContext's extensions, on which all members agree."""
        return self.state.context.extensions

    @property
    def own_leaf(self) -> LeafIndex:
        """Where we sit."""
        return self.state.own_leaf

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody in the group, us included, from left to right. Costs a look at every leaf."""
        return tuple(member_of(leaf_index, leaf) for leaf_index, leaf in self.state.tree.occupied())

    def member(self, leaf_index: LeafIndex) -> Member | None:
        """Who sits at a leaf; None where it is blank."""
        leaf = self.state.tree.leaf(leaf_index)
        return None if leaf is None else member_of(leaf_index, leaf)

    @property
    def pending_proposals(self) -> tuple[CheckedProposal, ...]:
        """The proposals of this epoch. While there are any, a commit must come before application data (rule D1)."""
        return tuple(self.state.proposals.values())

    @property
    def epoch_authenticator(self) -> bytes:
        """Equal at all members who are in the same epoch of the same group (§8.7); not secret among them."""
        return self.state.secrets.epoch_authenticator.reveal()

    @property
    def resumption_psk(self) -> Secret:
        """Proves later that we were in this epoch (§8.6). How many of them to keep is the caller's decision."""
        return self.state.secrets.resumption_psk

    def export(self, label: str, context: bytes, length: int) -> Secret:
        """A secret of `length` bytes that all members of the epoch share (§8.5). Use each label for one purpose."""
        return key_schedule.export(self.suite, self.state.secrets.exporter_secret, label, context, length)

    def protect(self, data: bytes, authenticated_data: bytes = b"") -> tuple[Group, bytes]:
        """Encrypt application data to the group (§6.3), padded to a bucket. `authenticated_data` stays readable.

        Raises `RuleViolation` D1 while there are proposals to commit.
        """
        message_rules.d1_nothing_pending(self.state.proposals)
        content = ApplicationContent(data)
        signed = messages.sign(self.state, WireFormat.PRIVATE_MESSAGE, content, authenticated_data)
        state, message = messages.protect(self.state, signed)
        return Group(state), message

    def commit(
        self,
        adds: Sequence[VerifiedKeyPackage] = (),
        removes: Sequence[LeafIndex] = (),
        *,
        now: int,
        psks: Sequence[ExternalPSK | ResumptionPSK] = (),
        extensions: tuple[Extension, ...] | None = None,
        with_path: bool = True,
        authenticated_data: bytes = b"",
        find_psk: PSKLookup = no_psks,
    ) -> PendingCommit:
        """End the epoch (§12.4.1): add, remove, mix in `psks`, replace the group's `extensions`, renew our own keys.

        The proposals of this epoch are covered too, as far as they are valid together with ours. `with_path=False`
        leaves our keys as they are where the RFC allows it: if there is something to commit and it only adds members
        or PSKs. This group stays as it is until the caller adopts what is returned.
        Raises `RuleViolation` for what would be no valid commit.
        """
        state = self.state
        lookup = _lookup(state, find_psk)
        wanted: list[AnyProposal] = [Remove(leaf_index) for leaf_index in removes]
        wanted += [PreSharedKey(proposing.generate_psk_id(state.suite, psk)) for psk in psks]
        wanted += [] if extensions is None else [GroupContextExtensions(extensions)]
        own = [check_proposal(state, proposal, state.own_leaf, None, now) for proposal in wanted]
        own += [checked_add(state, verified, now) for verified in adds]
        created = create_commit(
            state,
            choose_proposals(state, own, lookup, now),
            with_path=with_path,
            wire_format=messages.handshake_format(state),
            authenticated_data=authenticated_data,
            find_psk=lookup,
        )
        used, message = messages.protect(state, created.authenticated)
        welcome = encode_message(create_welcome(created)) if created.changes.added else None
        return PendingCommit(Group(used), Group(created.next_state), message, welcome)

    def propose_add(self, verified: VerifiedKeyPackage, *, now: int) -> tuple[Group, bytes]:
        """Propose to add a client (§12.1.1)."""
        return self._propose(checked_add(self.state, verified, now).proposal, now)

    def propose_remove(self, leaf_index: LeafIndex, *, now: int) -> tuple[Group, bytes]:
        """Propose to remove a member, or to leave (§12.1.3)."""
        return self._propose(Remove(leaf_index), now)

    def propose_update(self, *, now: int) -> tuple[Group, bytes]:
        """Propose a fresh encryption key for our leaf (§12.1.2); it counts once somebody else commits it."""
        state, message = proposing.propose_update(self.state, now)
        return Group(state), message

    def propose_psk(self, psk: ExternalPSK | ResumptionPSK, *, now: int) -> tuple[Group, bytes]:
        """Propose to mix a pre-shared key into the next epoch (§12.1.4)."""
        return self._propose(PreSharedKey(proposing.generate_psk_id(self.suite, psk)), now)

    def propose_extensions(self, extensions: tuple[Extension, ...], *, now: int) -> tuple[Group, bytes]:
        """Propose to replace the GroupContext's extensions, all of them (§12.1.7)."""
        return self._propose(GroupContextExtensions(extensions), now)

    def _propose(self, proposal: AnyProposal, now: int) -> tuple[Group, bytes]:
        state, message = proposing.propose(self.state, proposal, now)
        return Group(state), message

    def receive(self, message: bytes, now: int, find_psk: PSKLookup = no_psks) -> Received:
        """Take in a message of another member (§6, §12.4.2).

        Raises `FutureEpoch` (an earlier commit is missing), `PastEpoch` (too late: no former epoch's keys are kept),
        `GenerationUsed` or `GenerationTooFar`, `InvalidMessage` (drop it), `Unsupported`. Our own messages that come
        back are not for this method (rule F19): the caller knows them by their ids.
        """
        opened = messages.open_message(self.state, message)
        framed, sender = opened.authenticated.content, opened.sender
        member = member_of(sender, self.state.leaf(sender))
        match framed.content:
            case ApplicationContent(application_data=data):
                assert opened.generation is not None, "application data is always private (rule F5)"
                return ApplicationMessage(
                    Group(opened.state), member, data, framed.authenticated_data, opened.generation
                )
            case ProposalContent(proposal=proposal):
                reference = messages.proposal_reference(self.state, opened.authenticated)
                checked = check_proposal(self.state, proposal, sender, reference, now)
                return ReceivedProposal(Group(proposing.with_proposal(opened.state, checked)), checked, member)
            case Commit():
                lookup = _lookup(self.state, find_psk)
                processed = process_commit(self.state, opened.authenticated, lookup, now)
                return _stage(self.state, processed, member, framed.authenticated_data)
            case _:
                assert_never(framed.content)


@dataclass(frozen=True, slots=True, eq=False)
class PendingCommit:
    """A commit of ours that the delivery service has not accepted yet."""

    group: Group
    """This epoch, with the commit's message key used up: store it, so that a second attempt uses another key."""
    next_group: Group
    """The next epoch: adopt it when the commit is accepted."""
    message: bytes
    welcome: bytes | None
    """For everybody whom the commit adds; deliver it only once the commit is accepted (§14)."""


@dataclass(frozen=True, slots=True, eq=False)
class ApplicationMessage:
    """Application data of another member. `generation` counts its messages of this epoch from 0."""

    group: Group
    sender: Member
    data: bytes
    authenticated_data: bytes
    generation: int


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedProposal:
    """A proposal of another member, kept for a commit of this epoch."""

    group: Group
    proposal: CheckedProposal
    sender: Member


@dataclass(frozen=True, slots=True, eq=False)
class StagedCommit:
    """A valid commit of another member, not yet adopted. Judge whom it brings before `merge`."""

    sender: Member
    """The committer, as it was before the commit."""
    proposals: tuple[CheckedProposal, ...]
    """What the commit covers, each with the member who wanted it."""
    added: tuple[Member, ...]
    removed: tuple[Member, ...]
    updated: tuple[Member, ...]
    """Members with a new leaf, as they will be: those whose Update it covers, and the committer if it has a path."""
    extensions: tuple[Extension, ...]
    """The GroupContext's extensions after the commit."""
    authenticated_data: bytes
    removes_us: bool
    next_state: GroupState | None = field(repr=False)

    def merge(self) -> Group:
        """Enter the next epoch. Raises `UsageError` if the commit removes us: erase the group's keys instead."""
        if self.next_state is None:
            raise UsageError("the commit removes us: there is no next epoch to enter")
        return Group(self.next_state)


Received = ApplicationMessage | ReceivedProposal | StagedCommit


@dataclass(frozen=True, slots=True, eq=False)
class StagedJoin:
    """A valid Welcome, not yet accepted. Judge who is there and who invites before `accept`."""

    opened: OpenedWelcome = field(repr=False)

    @property
    def group_id(self) -> bytes:
        """The group that we would enter."""
        return self.opened.state.context.group_id

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody who would be in the group, us included."""
        return Group(self.opened.state).members

    @property
    def inviter(self) -> Member:
        """Whose commit adds us."""
        return member_of(self.opened.inviter, self.opened.state.leaf(self.opened.inviter))

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The GroupContext's extensions."""
        return self.opened.state.context.extensions

    @property
    def used_reference(self) -> bytes:
        """The key package that this uses up: erase its private keys, unless it is a last-resort one."""
        return self.opened.reference

    def accept(self) -> Group:
        """Enter the group."""
        return Group(self.opened.state)


def create_group(
    suite: CipherSuite,
    group_id: bytes,
    credential: AnyCredential,
    signer: SignatureKeyPair,
    *,
    lifetime: Lifetime,
    now: int,
    extensions: tuple[Extension, ...] = (),
    config: GroupConfig = DEFAULT_CONFIG,
) -> Group:
    """A new group with us as its only member, in epoch 0 (§11). Choose `group_id` at random, KDF.Nh bytes."""
    state = generate_group_state(
        suite, group_id, credential, signer, lifetime=lifetime, now=now, extensions=extensions, config=config
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
    config: GroupConfig = DEFAULT_CONFIG,
) -> StagedJoin:
    """Enter a group by Welcome (§12.4.3.1).

    `bundles` are our key packages by reference, `held_groups` the ids of the groups that we are in. `ratchet_tree` is
    the encoded tree, needed if the Welcome does not hold it. Raises `InvalidMessage` or `Unsupported`.
    """
    body = decode_message(welcome).body
    if not isinstance(body, Welcome):
        raise DecodeError("the message is not a Welcome")
    opened = open_welcome(
        body,
        bundles,
        signer,
        config=config,
        held_groups=held_groups,
        ratchet_tree=ratchet_tree,
        find_psk=find_psk,
        now=now,
    )
    return StagedJoin(opened)


def _lookup(state: GroupState, find_psk: PSKLookup) -> PSKLookup:
    """The caller's lookup, before which stands the one PSK that we know ourselves: the present epoch's (§8.6)."""

    def find(psk: ExternalPSK | ResumptionPSK) -> Secret | None:
        present = (state.context.group_id, state.context.epoch)
        if isinstance(psk, ResumptionPSK) and (psk.psk_group_id, psk.psk_epoch) == present:
            return state.secrets.resumption_psk
        return find_psk(psk)

    return find


def _stage(state: GroupState, processed: ProcessedCommit, sender: Member, authenticated_data: bytes) -> StagedCommit:
    changes = processed.changes
    return StagedCommit(
        sender=sender,
        proposals=changes.proposals,
        added=tuple(member_of(leaf_index, package.leaf_node) for leaf_index, package in changes.added.items()),
        removed=tuple(member_of(leaf_index, state.leaf(leaf_index)) for leaf_index in sorted(changes.removed)),
        updated=tuple(member_of(leaf_index, leaf) for leaf_index, leaf in processed.renewed.items()),
        extensions=changes.extensions,
        authenticated_data=authenticated_data,
        removes_us=processed.next_state is None,
        next_state=processed.next_state,
    )
