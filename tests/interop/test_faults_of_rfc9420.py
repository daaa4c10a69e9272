"""What `rfc9420` 1.3.0 gets wrong, as tests of ours.

That package passes the published vectors of RFC 9420, and so shows what they do not find. Each test has it make or
accept what the RFC forbids, live, and shows that we refuse it; where it computes something else, that mls-rs sides with
us. It cannot be a `Peer`: nobody accepts a commit with a path that it makes.

Its members here have keys and key packages that our code made, and its state machine. A fault that is gone in a later
version fails its test, which then goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from rfc9420 import DefaultCryptoProvider, ProtocolMLSGroup, RFC9420Error, SameEpochCommitError, Sender, SenderType
from rfc9420.messages.data_structures import Welcome as TheirWelcome
from rfc9420.messages.key_packages import KeyPackage as TheirKeyPackage
from rfc9420.messages.key_packages import LeafNodeSource
from rfc9420.messages.messages import MLSCiphertext, MLSPlaintext

from crypto.errors import AuthenticationError, GenerationUsed
from crypto.mls import commit as commit_module
from crypto.mls import joining
from crypto.mls.framing import PublicMessage
from crypto.mls.group import generate_key_package, verify_key_package
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.proposals import Commit
from crypto.mls.rules import leaf as leaf_rules
from crypto.mls.snapshot import rows
from crypto.mls.tree_nodes import CommitSource, LeafIndex, Lifetime, UpdatePath, verify_leaf_node
from crypto.wire import encode
from tests.crypto.forge import assert_refused, off
from tests.interop import peers
from tests.interop.our_peer import SUITE, OurPeer
from tests.interop.peers import needs, now

PUBLIC_HEADER, PRIVATE_HEADER = bytes.fromhex("00010001"), bytes.fromhex("00010002")
"""Version and wire format of an MLSMessage, which that package leaves out."""
HEADER = len(PUBLIC_HEADER)


class Stranger:
    """A member that runs `rfc9420`."""

    def __init__(self, name: str) -> None:
        self.keys = OurPeer(name)
        self.identity = self.keys.identity
        self.signing_key = self.keys.signer.private.reveal()
        self.group: Any = None

    @property
    def leaf_index(self) -> LeafIndex:
        return LeafIndex(self.group.get_own_leaf_index())

    def key_package(self) -> bytes:
        return self.keys.key_package()

    def join(self, welcome: bytes) -> None:
        (bundle,) = self.keys.bundles.values()
        self.group = ProtocolMLSGroup.from_welcome(
            TheirWelcome.deserialize(welcome[HEADER:]),
            bundle.init_private.reveal(),
            DefaultCryptoProvider(),
            key_package=TheirKeyPackage.deserialize(encode(bundle.key_package)),
            encryption_private_key=bundle.encryption_private.reveal(),
        )

    def follow(self, commit: bytes, committer: OurPeer) -> None:
        self.group.process_commit(MLSPlaintext.deserialize(commit[HEADER:]), committer.view.own_leaf)

    def read(self, message: bytes) -> bytes:
        _, data = self.group.unprotect(MLSCiphertext.deserialize(message[HEADER:]))
        return bytes(data)

    def send(self, data: bytes, *, signed: bool) -> bytes:
        message = self.group.protect(data, signing_key=self.signing_key if signed else None)
        return PRIVATE_HEADER + bytes(message.serialize())

    def propose(self, proposal: Any) -> bytes:
        """`proposal` as it made it, taken in by itself."""
        self.group.process_proposal(proposal, Sender(self.leaf_index, SenderType.MEMBER))
        return PUBLIC_HEADER + bytes(proposal.serialize())

    def commit(self) -> bytes:
        """A commit with a path.

        It keeps its encryption key, against §12.4.2 and rule U8, unless it is helped to another one.
        """
        own = self.group._ratchet_tree.get_node(self.leaf_index * 2)
        own.leaf_node = replace(own.leaf_node, encryption_key=SUITE.generate_hpke_key_pair().public)
        self.pending = self.group.create_commit(self.signing_key)
        return PUBLIC_HEADER + bytes(self.pending.commit_message.serialize())

    def assert_agrees(self, us: OurPeer) -> None:
        assert self.group.get_epoch_authenticator() == us.view.epoch_authenticator


def group_of(us: OurPeer, *others: Any) -> None:
    """We found a group and add all others."""
    us.create()
    sent = us.add([other.key_package() for other in others])
    for other in others:
        other.join(sent.welcome(0))


@contextmanager
def unchecked_leaf_signatures() -> Iterator[None]:
    """Paths are judged but for the signature of their leaf."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_module, "verify_leaf_node", lambda *_: None)
        yield


def path_of(commit: bytes) -> UpdatePath:
    body = decode_message(commit).body
    assert isinstance(body, PublicMessage)
    assert isinstance(body.content.content, Commit)
    assert body.content.content.path is not None
    return body.content.content.path


def assert_ours_refuses(action: Callable[[], object], us: OurPeer) -> None:
    """We refuse what `action` lets us see, and are as before."""
    before = rows(us.view)
    with pytest.raises(AuthenticationError):
        action()
    assert rows(us.view) == before


def pair() -> tuple[OurPeer, Stranger]:
    us, them = OurPeer("ours", public=True), Stranger("theirs")
    group_of(us, them)
    return us, them


def test_it_follows_us_and_we_read_each_other() -> None:
    """All is well until a fault shows: what is refused below is refused for that fault."""
    us, them = pair()
    them.follow(us.commit().commit, us)
    them.assert_agrees(us)
    assert them.read(us.send(b"from us")) == b"from us"
    assert us.process(them.send(b"from them", signed=True), them.identity).data == b"from them"


@needs("mls-rs")
def test_its_commits_carry_a_leaf_without_a_signature() -> None:
    """§7.3, rule L2: the new leaf in its path has the signature of the old one."""
    us, them, witness = OurPeer("ours", public=True), Stranger("theirs"), peers.new("mls-rs", "witness")
    group_of(us, them, witness)
    old = us.view.state.leaf(them.leaf_index)
    commit = them.commit()
    assert path_of(commit).leaf_node != old
    assert path_of(commit).leaf_node.signature == old.signature
    with pytest.raises(AuthenticationError):
        verify_leaf_node(SUITE, path_of(commit).leaf_node, us.view.group_id, them.leaf_index)
    assert_ours_refuses(lambda: us.process(commit, them.identity), us)
    with pytest.raises(witness.refusal):
        witness.process(commit, them.identity)


def test_its_commits_begin_an_epoch_without_their_leaf() -> None:
    """§12.4.1: the tree whose hash goes into the next epoch, and into what seals the path, has the new leaf in it."""
    us, them = pair()
    commit = them.commit()
    with unchecked_leaf_signatures():
        assert_ours_refuses(lambda: us.process(commit, them.identity), us)
    them.group.apply_own_commit(them.pending)
    kept = them.group._ratchet_tree.get_node(them.leaf_index * 2).leaf_node
    assert kept.leaf_node_source == LeafNodeSource.KEY_PACKAGE
    assert isinstance(path_of(commit).leaf_node.source, CommitSource)


def test_its_commits_keep_the_encryption_key() -> None:
    """§12.4.2, rule U8: a fresh key in the leaf is what heals a group after a theft."""
    us, them = pair()
    pending = them.group.create_commit(them.signing_key)
    commit = PUBLIC_HEADER + bytes(pending.commit_message.serialize())
    assert_refused("U8", lambda: us.process(commit, them.identity), us.view)


def test_its_path_is_short_where_it_adds() -> None:
    """§4.1.2, rule U2: a new leaf keeps its ancestors in the filtered direct path; nothing is sealed to it."""
    us, them, third = OurPeer("ours", public=True), Stranger("theirs"), OurPeer("third")
    group_of(us, them, third)
    newcomer = TheirKeyPackage.deserialize(encode(OurPeer("fourth")._bundle().key_package))
    for proposal in (
        them.group.create_remove_proposal(third.view.own_leaf, them.signing_key),
        them.group.create_add_proposal(newcomer, them.signing_key),
    ):
        us.process(them.propose(proposal), them.identity)
    commit = them.commit()
    assert len(path_of(commit).nodes) == 1
    with unchecked_leaf_signatures():
        assert_refused("U2", lambda: us.process(commit, them.identity), us.view)


@needs("mls-rs")
def test_it_refuses_our_commit_that_adds_with_a_path() -> None:
    """The same fault at the receiver: the newcomer, leaf 4, is alone on its side of the root."""
    us, them, third = OurPeer("ours", public=True), Stranger("theirs"), OurPeer("third")
    witness, newcomer = peers.new("mls-rs", "witness"), peers.new("mls-rs", "newcomer")
    group_of(us, them, third, witness)
    sent = us.add([newcomer.key_package()])
    for other in (third, witness):
        other.process(sent.commit, us.identity)
    newcomer.join(sent.welcome(0))
    for other in (third, witness, newcomer):
        other.assert_agrees(us.view)
    with pytest.raises(RFC9420Error, match="node count does not match filtered direct path"):
        them.follow(sent.commit, us)


@needs("mls-rs")
def test_it_refuses_to_join_where_two_have_committed() -> None:
    """§7.9.2: who commits first has a leaf with a parent hash that later commits do not renew, and need not."""
    us, second = OurPeer("ours", public=True), OurPeer("second")
    group_of(us, second)
    us.process(second.commit().commit, second.identity)
    second.process(us.commit().commit, us.identity)
    them, witness = Stranger("theirs"), peers.new("mls-rs", "witness")
    sent = us.add([them.key_package(), witness.key_package()])
    second.process(sent.commit, us.identity)
    witness.join(sent.welcome(0))
    for other in (second, witness):
        other.assert_agrees(us.view)
    with pytest.raises(RFC9420Error, match="invalid parent_hash for leaf"):
        them.join(sent.welcome(0))


@needs("mls-rs")
def test_it_exports_other_secrets() -> None:
    """§8.5: ExpandWithLabel takes the hash of the context. It takes the context."""
    us, them, witness = OurPeer("ours", public=True), Stranger("theirs"), peers.new("mls-rs", "witness")
    group_of(us, them, witness)
    assert them.group.get_exporter_secret() == us.view.state.secrets.exporter_secret.reveal()
    for context in (b"", b"context", b"x" * 32):
        ours = us.export("label", context, 32)
        assert witness.export("label", context, 32) == ours
        theirs = them.group.export_secret(b"label", context, 32)
        assert theirs != ours
        hashed = SUITE.hash(context)
        assert them.group.export_secret(b"label", hashed, 32) == ours


def test_it_sends_and_accepts_data_without_a_signature() -> None:
    """§6.1, rule F10: with it, any member speaks as any other."""
    us, them, other = OurPeer("ours", public=True), Stranger("theirs"), Stranger("other")
    group_of(us, them, other)
    message = them.send(b"says who?", signed=False)
    assert other.read(message) == b"says who?"
    assert_ours_refuses(lambda: us.process(message, them.identity), us)


def test_it_reads_a_message_again_and_again() -> None:
    """§9.2: a key that was used is erased. It keeps them all, and so has no forward secrecy inside an epoch either."""
    us, them, listener = OurPeer("ours", public=True), Stranger("theirs"), OurPeer("listener")
    group_of(us, them, listener)
    message = us.send(b"pay 100")
    assert listener.process(message, us.identity).data == b"pay 100"
    with pytest.raises(GenerationUsed):
        listener.process(message, us.identity)
    assert [them.read(message) for _ in range(3)] == [b"pay 100"] * 3


def test_it_adds_by_a_key_package_that_has_expired() -> None:
    """§10.1, rules L9 and L10. We refuse the package, and its proposal to add it."""
    us, them = pair()
    late = OurPeer("late")
    day = 86_400
    lifetime = Lifetime(now() - 300 * day, now() - 200 * day)
    bundle = generate_key_package(SUITE, late.credential, late.signer, lifetime=lifetime)
    assert_refused("L9", lambda: verify_key_package(encode_message(bundle.key_package), now()))
    theirs = TheirKeyPackage.deserialize(encode(bundle.key_package))
    proposal = them.propose(them.group.create_add_proposal(theirs, them.signing_key))
    assert_refused("L10", lambda: us.process(proposal, them.identity), us.view)
    with off(leaf_rules.l10_lifetime_of_received_leaf):
        assert us.process(proposal, them.identity).kind == "proposal"


@needs("mls-rs")
def test_it_joins_whoever_signed_the_group_info(monkeypatch: pytest.MonkeyPatch) -> None:
    """§12.4.3.1: the signer that GroupInfo names must have signed it. It tries the keys of all members."""
    us, second, third = OurPeer("ours", public=True), OurPeer("second"), OurPeer("third")
    group_of(us, second)
    them, witness = Stranger("theirs"), peers.new("mls-rs", "witness")
    generate_group_info = joining.generate_group_info

    def signed_by_second(state: Any, **options: Any) -> Any:
        return generate_group_info(replace(state, signer=second.signer), **options)

    monkeypatch.setattr(joining, "generate_group_info", signed_by_second)
    welcome = us.add([them.key_package(), third.key_package(), witness.key_package()]).welcome(0)
    with pytest.raises(AuthenticationError):
        third.join(welcome)
    with pytest.raises(witness.refusal):
        witness.join(welcome)
    them.join(welcome)
    them.assert_agrees(us)


def test_a_forged_commit_locks_it_out() -> None:
    """§14 is about commits that are valid. It notes any as the epoch's one, and stops sending, before it looks."""
    us, them, third = OurPeer("ours", public=True), Stranger("theirs"), OurPeer("third")
    group_of(us, them, third)
    commit = us.commit().commit
    forged = commit[:-1] + bytes([commit[-1] ^ 1])
    assert_ours_refuses(lambda: third.process(forged, us.identity), third)
    third.process(commit, us.identity)
    with pytest.raises(RFC9420Error, match="invalid"):
        them.follow(forged, us)
    with pytest.raises(RFC9420Error, match="sending not allowed"):
        them.send(b"hello?", signed=True)
    with pytest.raises(SameEpochCommitError):
        them.follow(commit, us)
