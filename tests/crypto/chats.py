"""A world of people with certified devices in a chat with a policy: what real clients would be in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from crypto.errors import PolicyViolation
from crypto.identity.accounts import verify_chain
from crypto.identity.chat_policy import (
    POLICY_EXTENSION,
    ChatKind,
    ChatPolicy,
    JudgedCommit,
    LeafOwner,
    check_commit,
    founding_policy,
    next_policy,
    policy_extension,
    policy_in,
    with_policy,
)
from crypto.identity.device_list import certify_leaf
from crypto.identity.judging import judge
from crypto.mls.config import GroupConfig
from crypto.mls.credentials import AnyCredential, BasicCredential
from crypto.mls.extensions import Extension
from crypto.mls.group import (
    Member,
    PendingCommit,
    StagedCommit,
    create_group,
    generate_key_package,
    verify_key_package,
)
from crypto.mls.mls_message import encode_message
from crypto.mls.snapshot import rows
from crypto.mls.tree_nodes import LeafIndex
from crypto.mls.verified_key_package import VerifiedKeyPackage
from crypto.suites import CipherSuite, suite_of
from tests.crypto.identities import Account, account
from tests.crypto.world import LIFETIME, NOW, Person, World

SUPPORTED = (POLICY_EXTENSION, 0xF5E0)
DEVICES = 3


def owner_of(credential: AnyCredential, signature_key: bytes) -> LeafOwner:
    device = certify_leaf(credential, signature_key)
    return LeafOwner(device.account_id, device.device_id)


def whose(member: Member) -> LeafOwner:
    return owner_of(member.credential, member.signature_key)


def same_account(one: AnyCredential, other: AnyCredential) -> bool:
    """The loosest answer that an application may give (rule X2): so that what is refused, the policy refuses."""
    assert isinstance(one, BasicCredential)
    assert isinstance(other, BasicCredential)
    return verify_chain(one.identity).account_id == verify_chain(other.identity).account_id


OPEN = GroupConfig(
    accept_external_commits=True,
    accept_external_proposals=True,
    accept_public_handshakes=True,
    same_client=same_account,
)


def account_of(name: str) -> Account:
    """The account of a name such as "alice" or "alice/1", which is a device of it."""
    return account(name.partition("/")[0], DEVICES)


def id_of(name: str) -> bytes:
    return account_of(name).account_id


@dataclass
class DevicePerson(Person):
    """A person's device: "alice" is the first of alice's, "alice/1" another."""

    @property
    def credential(self) -> BasicCredential:
        return account_of(self.name).devices[int(self.name.partition("/")[2] or 0)].credential

    def offer(self) -> VerifiedKeyPackage:
        self.bundle = generate_key_package(
            self.suite, self.credential, self.signer, lifetime=LIFETIME, supported_extensions=SUPPORTED
        )
        return verify_key_package(encode_message(self.bundle.key_package), NOW)


@dataclass
class Chat(World):
    """A chat. Commits carry the policy that follows from them, unless a test says another."""

    unlisted: set[bytes] = field(default_factory=set)
    """Devices that their account's newest list no longer names."""

    def person(self, name: str) -> Person:
        if name not in self.people:
            keys = account_of(name).devices[int(name.partition("/")[2] or 0)].keys
            self.people[name] = DevicePerson(name, self.suite, keys, self.config)
        return self.people[name]

    def found_chat(self, founder: str, policy: ChatPolicy, others: tuple[Extension, ...] = ()) -> None:
        someone = self.person(founder)
        someone.group = create_group(
            self.suite,
            b"a chat of this test",
            someone.credential,
            someone.signer,
            lifetime=LIFETIME,
            now=NOW,
            extensions=(*others, policy_extension(policy)),
            supported_extensions=SUPPORTED,
            config=self.config,
        )

    def policy(self, name: str) -> ChatPolicy:
        return policy_in(self[name].extensions)

    def owners(self, name: str) -> dict[LeafIndex, LeafOwner]:
        return {member.leaf_index: whose(member) for member in self[name].members}

    def after(self, name: str, adds: Iterable[str] = (), removes: Iterable[str] = (), **said: Any) -> ChatPolicy:
        """The policy that follows when these devices come and go."""
        gone = {self.leaf(each) for each in removes}
        stay = {owner.account_id for leaf, owner in self.owners(name).items() if leaf not in gone}
        present = stay | {id_of(each) for each in adds}
        policy = self.policy(name)
        listed = [each for each in gone if self.owners(name)[each].device_id not in self.unlisted]
        lost = {self.owners(name)[each].account_id for each in listed} - present
        return next_policy(policy, present, gone=lost, **said)

    def change(
        self,
        committer: str,
        *,
        adds: Collection[str] = (),
        removes: Collection[str] = (),
        policy: ChatPolicy | None = None,
        **options: Any,
    ) -> PendingCommit:
        """A commit with the policy that follows from it, or with another."""
        following = self.after(committer, adds, removes) if policy is None else policy
        if "extensions" not in options and following != self.policy(committer):
            options["extensions"] = with_policy(self[committer].extensions, following)
        return self.pending(committer, adds=adds, removes=removes, **options)

    def stage(self, receiver: str, message: bytes, **options: Any) -> StagedCommit:
        staged = self[receiver].receive(message, NOW, **options)
        assert isinstance(staged, StagedCommit)
        return staged

    def judged(self, receiver: str, staged: StagedCommit) -> JudgedCommit:
        return judge(self[receiver], staged, whose=whose, is_listed=lambda leaf: leaf.device_id not in self.unlisted)

    def accept(self, committer: str, pending: PendingCommit) -> None:
        """Every member judges the commit and adopts it; whoever it adds joins."""
        after = policy_in(pending.next_epoch.state.context.extensions)
        for someone in self.members:
            if someone.name != committer:
                staged = self.stage(someone.name, pending.message)
                assert check_commit(self.policy(someone.name), self.judged(someone.name, staged)) == after
        self.win(committer, pending)

    def refuse(self, message: bytes, match: str, *, but: str, **options: Any) -> None:
        """MLS takes this commit, and every member but its committer refuses it by the policy, and stays as it was."""
        for someone in self.members:
            if someone.name != but:
                before = rows(someone.view)
                staged = self.stage(someone.name, message, **options)
                with pytest.raises(PolicyViolation, match=match):
                    check_commit(self.policy(someone.name), self.judged(someone.name, staged))
                assert rows(someone.view) == before

    def goes_on(self) -> None:
        """After whatever was refused: everybody is in one epoch and reads what the others say."""
        self.assert_agreement()
        for someone in self.members:
            self.say(someone.name, b"still here")


def chat_of(
    *names: str,
    kind: ChatKind = ChatKind.GROUP,
    suite: CipherSuite | None = None,
    config: GroupConfig = OPEN,
    others: tuple[Extension, ...] = (),
) -> Chat:
    """A chat that the first of these devices founded and to which it added the others."""
    chat = Chat(suite_of(1) if suite is None else suite, config=config)
    founder = id_of(names[0])
    chat.found_chat(names[0], founding_policy(kind, founder, {id_of(each) for each in names} - {founder}), others)
    if names[1:]:
        chat.commit(names[0], adds=names[1:])
    return chat
