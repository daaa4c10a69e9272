"""A group as its members see it (RFC 9420): send, receive, propose, commit.

Owns `Group` and what its operations return. How one comes to be in a group stands in `group`, which is the public
module. The rules for the caller stand there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from crypto.errors import UsageError
from crypto.mls import key_schedule, messages, proposing
from crypto.mls.commit import CreatedCommit, ProcessedCommit, create_commit, process_commit
from crypto.mls.extensions import Extension, ExternalSender
from crypto.mls.external import process_external_commit
from crypto.mls.former_epochs import caught_up
from crypto.mls.framing import ApplicationContent, ProposalContent
from crypto.mls.group_info import generate_group_info
from crypto.mls.headers import MemberSender, NewMemberCommitSender, ProtocolVersion, WireFormat
from crypto.mls.joining import create_welcome
from crypto.mls.mls_message import encode_message
from crypto.mls.proposal_list import check_proposal, checked_add, choose_proposals
from crypto.mls.proposals import (
    AnyProposal,
    CheckedProposal,
    Commit,
    GroupContextExtensions,
    PreSharedKey,
    ReInit,
    Remove,
)
from crypto.mls.psk import ExternalPSK, ResumptionPSK
from crypto.mls.psk_lookup import PSKLookup, generate_psk_id, no_psks, own_psks_first
from crypto.mls.roster import Member, member_at, member_of
from crypto.mls.rules import commit as commit_rules
from crypto.mls.rules import message as message_rules
from crypto.mls.state import GroupState
from crypto.mls.tree_nodes import LeafIndex
from crypto.mls.verified_key_package import VerifiedKeyPackage
from crypto.secret import Secret
from crypto.suites import CipherSuite


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
        return member_at(self.state.tree, leaf_index)

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

    @property
    def reinitialised_to(self) -> ReInit | None:
        """The group that takes this one's place, once a commit has decided so: this one is at its end (§11.2)."""
        return self.state.reinit

    def export(self, label: str, context: bytes, length: int) -> Secret:
        """A secret of `length` bytes that all members of the epoch share (§8.5). Use each label for one purpose.

        Raises `UsageError` for more than 255 * KDF.Nh bytes.
        """
        return key_schedule.export(self.suite, self.state.secrets.exporter_secret, label, context, length)

    def group_info(self, *, ratchet_tree: bool = True) -> bytes:
        """What a client needs to join this epoch by `external_join` (§12.4.3.2): for those who may know the group."""
        commit_rules.u15_group_goes_on(self.state.reinit)
        return encode_message(generate_group_info(self.state, ratchet_tree=ratchet_tree, external_pub=True))

    def forget_former_epochs(self) -> Group:
        """The same group without the keys of former epochs: late messages are lost from now on (§15.3)."""
        return Group(replace(self.state, former=()))

    def adopt(self, commit: NextEpoch | StagedCommit) -> Group:
        """Enter the next epoch: `PendingCommit.next_epoch` of ours that won, or a commit of others that was judged.

        Messages that we have opened since it was made or staged stay opened (rule R1). Raises `UsageError` for a commit
        of another epoch, fork or member, and for one that removes us: then erase the group's keys instead (rule U14).
        """
        following = commit.next_epoch if isinstance(commit, StagedCommit) else commit
        if following is None:
            raise UsageError("the commit removes us: there is no next epoch to enter")
        after = following.state
        if following.follows != self.state.interim_transcript_hash or after.own_leaf != self.own_leaf:
            raise UsageError("not a commit of this epoch, made or staged by us")
        return Group(replace(after, former=caught_up(after.former, self.state)))

    def protect(self, data: bytes, authenticated_data: bytes = b"") -> tuple[Group, bytes]:
        """Encrypt application data to the group (§6.3), padded to a bucket. `authenticated_data` stays readable.

        Raises `CommitFirst` while there are proposals to commit (D1), or once this epoch has carried as many of our
        messages as it may (R8); `RuleViolation` U15 once the group has been reinitialised; `UsageError` for more than
        others read (`wire.INPUT_BYTES_MAX`, padding included).
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
        leaf_extensions: tuple[Extension, ...] | None = None,
        with_path: bool = True,
        authenticated_data: bytes = b"",
        find_psk: PSKLookup = no_psks,
    ) -> PendingCommit:
        """End the epoch (§12.4.1): add, remove, mix in `psks`, replace the group's `extensions`, renew our own keys.

        The proposals of this epoch are covered too, as far as they are valid together with ours. `with_path=False`
        leaves our keys as they are where the RFC allows it: if there is something to commit and it only adds members
        or PSKs; new `leaf_extensions` for our own leaf need a path. This group stays as it is until the caller adopts
        what is returned.
        Raises `RuleViolation` for what would be no valid commit, and `UsageError` for more than others read.
        """
        state = self.state
        lookup = own_psks_first(state, find_psk)
        wanted: list[AnyProposal] = [Remove(leaf_index) for leaf_index in removes]
        wanted += [PreSharedKey(generate_psk_id(state.suite, psk)) for psk in psks]
        wanted += [] if extensions is None else [GroupContextExtensions(extensions)]
        own = [self._judged(proposal, now) for proposal in wanted]
        own += [checked_add(state, verified, now) for verified in adds]
        created = create_commit(
            state,
            choose_proposals(state, own, lookup, now),
            with_path=with_path or leaf_extensions is not None,
            wire_format=messages.handshake_format(state),
            authenticated_data=authenticated_data,
            find_psk=lookup,
            leaf_extensions=leaf_extensions,
        )
        return pending_commit(state, created)

    def propose_add(self, verified: VerifiedKeyPackage, *, now: int) -> tuple[Group, bytes]:
        """Propose to add a client (§12.1.1)."""
        return self._propose(checked_add(self.state, verified, now))

    def propose_remove(self, leaf_index: LeafIndex, *, now: int) -> tuple[Group, bytes]:
        """Propose to remove a member, or to leave (§12.1.3)."""
        return self._propose(self._judged(Remove(leaf_index), now))

    def propose_update(self, *, now: int, leaf_extensions: tuple[Extension, ...] | None = None) -> tuple[Group, bytes]:
        """Propose a fresh encryption key for our leaf (§12.1.2); it counts once somebody else commits it."""
        state, message = proposing.propose_update(self.state, now, leaf_extensions)
        return Group(state), message

    def propose_psk(self, psk: ExternalPSK | ResumptionPSK, *, now: int) -> tuple[Group, bytes]:
        """Propose to mix a pre-shared key into the next epoch (§12.1.4)."""
        return self._propose(self._judged(PreSharedKey(generate_psk_id(self.suite, psk)), now))

    def propose_extensions(self, extensions: tuple[Extension, ...], *, now: int) -> tuple[Group, bytes]:
        """Propose to replace the GroupContext's extensions, all of them (§12.1.7)."""
        return self._propose(self._judged(GroupContextExtensions(extensions), now))

    def propose_reinit(
        self, group_id: bytes, suite: CipherSuite, extensions: tuple[Extension, ...], *, now: int
    ) -> tuple[Group, bytes]:
        """Propose to end this group in favour of one with other parameters (§12.1.5).

        Once that is committed, one member calls `reinitialise`, the others `join` with this group as `previous`.
        """
        return self._propose(self._judged(ReInit(group_id, ProtocolVersion.MLS10, suite.id, extensions), now))

    def _judged(self, proposal: AnyProposal, now: int) -> CheckedProposal:
        """A proposal of ours, valid by itself. Raises `RuleViolation`."""
        return check_proposal(self.state, proposal, self.own_leaf, None, now)

    def _propose(self, judged: CheckedProposal) -> tuple[Group, bytes]:
        state, message = proposing.propose(self.state, judged)
        return Group(state), message

    def receive(self, message: bytes, now: int, find_psk: PSKLookup = no_psks) -> Received:
        """Take in a message of another member (§6, §12.4.2).

        Raises `FutureEpoch` (an earlier commit is missing), `PastEpoch` (too late: that epoch's keys are not kept),
        `GenerationUsed` or `GenerationTooFar`, `InvalidMessage` (drop it), `Unsupported`. Our own messages that come
        back are not for this method (rule F19): the caller knows them by their ids.
        """
        opened = messages.open_message(self.state, message)
        framed = opened.authenticated.content
        match framed.content:
            case ApplicationContent(application_data=data):
                assert isinstance(opened.sender, Member)
                assert opened.generation is not None, "application data is always private (rule F5)"
                return ApplicationMessage(
                    Group(opened.state),
                    opened.sender,
                    data,
                    framed.authenticated_data,
                    opened.generation,
                    framed.epoch,
                    opened.sender_is_current,
                )
            case ProposalContent(proposal=proposal):
                reference = messages.proposal_reference(self.suite, opened.authenticated)
                sender = opened.sender.leaf_index if isinstance(opened.sender, Member) else framed.sender
                assert not isinstance(sender, MemberSender)
                checked = check_proposal(self.state, proposal, sender, reference, now)
                return ReceivedProposal(Group(proposing.with_proposal(opened.state, checked)), checked, opened.sender)
            case Commit():
                lookup = own_psks_first(self.state, find_psk)
                if isinstance(framed.sender, NewMemberCommitSender):
                    processed = process_external_commit(self.state, opened.authenticated, lookup)
                else:
                    processed = process_commit(self.state, opened.authenticated, lookup, now)
                return _stage(self.state, processed, opened.sender, framed.authenticated_data)
            case _:
                assert_never(framed.content)


@dataclass(frozen=True, slots=True, eq=False)
class NextEpoch:
    """Where a commit leads. What it knows of message keys is of the time when it was made: `Group.adopt` enters it."""

    follows: bytes
    """The interim transcript hash of the epoch that the commit ends. It differs in each fork of a group."""
    state: GroupState = field(repr=False)

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody who will be in the group, from left to right."""
        return Group(self.state).members


@dataclass(frozen=True, slots=True, eq=False)
class PendingCommit:
    """A commit of ours that the delivery service has not accepted yet."""

    group: Group
    """This epoch, with the commit's message key used up: store it, so that a second attempt uses another key."""
    message: bytes
    welcome: bytes | None
    """For everybody whom the commit adds; deliver it only once the commit is accepted (§14)."""
    next_epoch: NextEpoch
    """Keep this alone, and `Group.adopt` it when the commit is accepted: `group` still has keys that go meanwhile."""


def pending_commit(state: GroupState, created: CreatedCommit) -> PendingCommit:
    """A commit that was made in `state`, as it is sent."""
    used, message = messages.protect(state, created.authenticated)
    welcome = encode_message(create_welcome(created)) if created.changes.added else None
    return PendingCommit(Group(used), message, welcome, NextEpoch(state.interim_transcript_hash, created.next_state))


@dataclass(frozen=True, slots=True, eq=False)
class ApplicationMessage:
    """Application data of another member. `generation` counts its messages of that epoch from 0."""

    group: Group
    sender: Member
    """As it was in the message's epoch."""
    data: bytes
    authenticated_data: bytes
    generation: int
    epoch: int
    """The present one, or a former one of which keys are kept (`GroupConfig.former_epochs_max`)."""
    sender_is_current: bool
    """False if the sender has left since, or its leaf says something else now (rule F17)."""


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedProposal:
    """A proposal of somebody else, kept for a commit of this epoch. Drop `group` to leave the proposal out."""

    group: Group
    proposal: CheckedProposal
    sender: Member | ExternalSender
    """A member, or the key and credential of somebody outside: `proposal.sender` says whether the group lists it as an
    external sender or whether it wants to be added."""


@dataclass(frozen=True, slots=True, eq=False)
class StagedCommit:
    """A valid commit of another member, not yet adopted. Judge whom it brings before `Group.adopt`."""

    sender: Member
    """The committer, as it was before the commit; of an external one, as it will be."""
    is_external: bool
    """Whether the sender joins by this commit (§12.4.3.2). It is among `added`, and if it was a member before, its
    former self is in `removed`. Whether it may, and whether its `psks` prove enough, is for the caller (rule X10)."""
    proposals: tuple[CheckedProposal, ...]
    """What the commit covers, each with whoever wanted it."""
    psks: tuple[ExternalPSK | ResumptionPSK, ...]
    """The pre-shared keys that the committer knew."""
    added: tuple[Member, ...]
    removed: tuple[Member, ...]
    updated: tuple[Member, ...]
    """Members with a new leaf, as they will be: those whose Update it covers, and the committer if it has a path."""
    extensions: tuple[Extension, ...]
    """The GroupContext's extensions after the commit."""
    reinit: ReInit | None
    """What the commit reinitialises the group to: it leads to the last epoch, where nothing is said (§11.2)."""
    authenticated_data: bytes
    removes_us: bool
    next_epoch: NextEpoch | None
    """None if the commit removes us."""


Received = ApplicationMessage | ReceivedProposal | StagedCommit


def _stage(
    state: GroupState, processed: ProcessedCommit, sender: Member | ExternalSender, authenticated_data: bytes
) -> StagedCommit:
    changes, after = processed.changes, processed.next_state
    added = tuple(member_of(leaf_index, leaf) for leaf_index, leaf in processed.added.items())
    return StagedCommit(
        sender=sender if isinstance(sender, Member) else added[0],
        is_external=not isinstance(sender, Member),
        proposals=changes.proposals,
        psks=tuple(psk_id.psk for psk_id in changes.psk_ids),
        added=added,
        removed=tuple(member_of(leaf_index, state.leaf(leaf_index)) for leaf_index in sorted(changes.removed)),
        updated=tuple(member_of(leaf_index, leaf) for leaf_index, leaf in processed.renewed.items()),
        extensions=changes.extensions,
        reinit=changes.reinit,
        authenticated_data=authenticated_data,
        removes_us=after is None,
        next_epoch=None if after is None else NextEpoch(state.interim_transcript_hash, after),
    )
