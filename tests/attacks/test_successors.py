"""A leaf never changes its device (rule L16), though both devices be of one account and on its signed list."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from client_lib.engine import generate_message_id
from client_lib.events import Alert, ChatStuck
from crypto.identity.accounts import DeviceChain, certify_device, device_id_of, generate_signature_key_pair
from crypto.identity.device_list import sign_device_list
from crypto.mls import proposing, snapshot
from crypto.mls.credentials import BasicCredential
from crypto.mls.group import Group
from crypto.mls.proposals import CheckedProposal, Update
from crypto.mls.tree_nodes import LeafNode, UpdateSource
from crypto.suites import SignatureKeyPair
from crypto.wire import encode
from protocol import frames
from tests.client_lib.engine.world import NOW_MS, Person, Relay, settle
from tests.crypto.forge import path_leaf
from tests.crypto.identities import signed_leaf

NOW = NOW_MS // 1000


@pytest.fixture
def people() -> tuple[Person, Person]:
    relay = Relay()
    return Person(relay, 1), Person(relay, 2)


def group_of(person: Person, chat: bytes) -> Group:
    group = person.engine.chats[chat].group
    assert group is not None
    return group


def second_device(owner: Person, seen_by: Person) -> tuple[SignatureKeyPair, BasicCredential]:
    """A device that its owner has certified and listed, which the other one knows."""
    identity, device = owner.identity, generate_signature_key_pair()
    certificate = identity.signing_key_certificate
    chain = DeviceChain(certificate, certify_device(identity.signing_key, certificate, device.public, NOW))
    listed = frozenset({owner.device_id, device_id_of(device.public)})
    device_list = sign_device_list(identity.signing_key, certificate, 2, listed, NOW)
    account = msgspec.structs.replace(owner.relay.accounts[owner.account_id], device_list=encode(device_list))
    seen_by.apply(seen_by.engine.learn_account(owner.account_id, account, NOW_MS))
    return device, BasicCredential(encode(chain))


def test_l16_an_update_does_not_hand_a_leaf_to_another_device(people: tuple[Person, Person]) -> None:
    alice, mallory = people
    chat = alice.create_chat("private", mallory)
    settle(alice, mallory)
    device, credential = second_device(mallory, alice)
    state = group_of(mallory, chat).state
    unsigned = replace(
        state.leaf(state.own_leaf),
        encryption_key=state.suite.generate_hpke_key_pair().public,
        signature_key=device.public,
        credential=credential,
        source=UpdateSource(),
    )
    leaf = signed_leaf(state.suite, device, unsigned, state.context.group_id, state.own_leaf)
    _, message = proposing.propose(state, CheckedProposal(Update(leaf), state.own_leaf, None))
    mallory.relay.handle(mallory.device_id, frames.Send(generate_message_id(), chat, message))
    read(alice)
    assert not group_of(alice, chat).pending_proposals
    (alert,) = [event for event in alice.events if isinstance(event, Alert)]
    assert "another device" in str(alert)


def test_l16_a_commit_does_not_hand_its_leaf_to_another_device(people: tuple[Person, Person]) -> None:
    alice, mallory = people
    chat = alice.create_chat("private", mallory)
    settle(alice, mallory)
    device, credential = second_device(mallory, alice)
    before = snapshot.rows(group_of(alice, chat))

    def handed_over(leaf: LeafNode) -> LeafNode:
        return replace(leaf, signature_key=device.public, credential=credential)

    with path_leaf(handed_over, device):
        made = group_of(mallory, chat).commit(now=NOW)
    commit = frames.Commit(message_id=generate_message_id(), chat_id=chat, message=made.message)
    assert isinstance(mallory.relay.handle(mallory.device_id, commit), frames.Accepted)
    read(alice)
    (stuck,) = [event for event in alice.events if isinstance(event, ChatStuck)]
    assert "another device" in stuck.reason
    assert snapshot.rows(group_of(alice, chat)) == before


def read(person: Person) -> None:
    """Process what has come in, without sending anything."""
    person.fetch_news()
    while person.incoming:
        person.process()
