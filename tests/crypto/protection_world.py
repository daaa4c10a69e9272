"""One epoch of a group of four, and messages in it made by hand: what the tests of protection share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from crypto import wire
from crypto.mls.framing import (
    AnyContent,
    ApplicationContent,
    AuthenticatedContent,
    FramedContent,
    PrivateContentAAD,
    PrivateMessage,
    ProposalContent,
    PublicMessage,
    SenderData,
    SenderDataAAD,
)
from crypto.mls.headers import (
    AnySender,
    ContentType,
    ExternalSenderIndex,
    MemberSender,
    NewMemberCommitSender,
    NewMemberProposalSender,
    ProtocolVersion,
    WireFormat,
)
from crypto.mls.key_schedule import GroupContext
from crypto.mls.proposals import Commit, Remove
from crypto.mls.protection import (
    open_private,
    open_sender_data,
    protect_private,
    protect_public,
    sender_data_key_nonce,
    sign_framed_content,
    unprotect_public,
    verify_framed_content,
    with_confirmation_tag,
)
from crypto.mls.secret_tree import Generation, RatchetKind, SecretTree
from crypto.mls.tree_nodes import LeafIndex
from crypto.secret import Secret
from crypto.suites import CipherSuite, SignatureKeyPair

NOT_AUTHENTIC = r"^the message is not authentic$"
SENDER = LeafIndex(1)
MEMBER = MemberSender(SENDER)
CONFIRMATION_TAG = b"confirmation tag"
APPLICATION, REMOVE, COMMIT = ApplicationContent(b"application data"), ProposalContent(Remove(3)), Commit((), None)
EVERY_CONTENT = pytest.mark.parametrize(
    "content", [APPLICATION, REMOVE, COMMIT], ids=["application", "proposal", "commit"]
)
HANDSHAKES = pytest.mark.parametrize("content", [REMOVE, COMMIT], ids=["proposal", "commit"])

SENDERS: list[AnySender] = [
    MEMBER,
    ExternalSenderIndex(0),
    NewMemberProposalSender(),
    NewMemberCommitSender(),
]


@dataclass(frozen=True)
class SharedEpoch:
    """What the members of a group of four share in an epoch, and the signature keys of two of them."""

    suite: CipherSuite
    signer: SignatureKeyPair
    other_signer: SignatureKeyPair
    tree: SecretTree
    sender_data_secret: Secret
    membership_key: Secret
    context: bytes

    def signed(
        self,
        content: AnyContent,
        wire_format: WireFormat = WireFormat.PRIVATE_MESSAGE,
        sender: AnySender = MEMBER,
        signer: SignatureKeyPair | None = None,
    ) -> AuthenticatedContent:
        framed = FramedContent(b"group", 7, sender, b"authenticated data", content)
        signed = sign_framed_content(self.suite, signer or self.signer, wire_format, framed, self.context)
        return with_confirmation_tag(signed, CONFIRMATION_TAG) if isinstance(content, Commit) else signed

    def private(self, content: AnyContent) -> tuple[SecretTree, PrivateMessage]:
        return protect_private(self.suite, self.signed(content), self.tree, self.sender_data_secret)

    def public(self, content: AnyContent, sender: AnySender = MEMBER) -> PublicMessage:
        signed = self.signed(content, WireFormat.PUBLIC_MESSAGE, sender)
        return protect_public(self.suite, signed, self.context, self.membership_key)

    def unprotect(
        self, message: PrivateMessage, tree: SecretTree | None = None
    ) -> tuple[SecretTree, AuthenticatedContent]:
        """All three gates: the group's keys, then the signature of the sender."""
        sender_data = open_sender_data(self.suite, message, self.sender_data_secret)
        after, opened = open_private(self.suite, message, sender_data, tree or self.tree)
        verify_framed_content(self.suite, opened, self.signer.public, self.context)
        return after, opened

    def unprotect_public(self, message: PublicMessage) -> AuthenticatedContent:
        opened = unprotect_public(self.suite, message, self.context, self.membership_key)
        verify_framed_content(self.suite, opened, self.signer.public, self.context)
        return opened

    def sealed_by_hand(
        self,
        plaintext: bytes,
        kind: ContentType = ContentType.APPLICATION,
        *,
        ratchet: RatchetKind = RatchetKind.APPLICATION,
        generation: int = 0,
        sender_data: bytes | None = None,
        sender_data_aad: SenderDataAAD | None = None,
    ) -> PrivateMessage:
        """What a member can make who keeps to no rule: any plaintext and sender data, under the right keys."""
        _, key = self.tree.key_for(SENDER, ratchet, Generation(generation))
        aad = wire.encode(PrivateContentAAD(b"group", 7, kind, b"authenticated data"))
        ciphertext = self.suite.aead_seal(key.key, key.nonce.reveal(), aad, plaintext)
        data_key, nonce = sender_data_key_nonce(self.suite, self.sender_data_secret, ciphertext)
        if sender_data is None:
            sender_data = wire.encode(SenderData(SENDER, generation, bytes(4)))
        data_aad = wire.encode(sender_data_aad or SenderDataAAD(b"group", 7, kind))
        sealed = self.suite.aead_seal(data_key, nonce, data_aad, sender_data)
        return PrivateMessage(b"group", 7, kind, b"authenticated data", sealed, ciphertext)

    def plaintext(self, content: AnyContent) -> bytes:
        signed = self.signed(content)
        return wire.encode(signed.content.content) + wire.encode(signed.auth)

    def refuses(self, message: PrivateMessage, error: type[Exception], rule: str | None = None) -> None:
        """Nothing is wrong with `message` but one thing, and refusing it uses up no key."""
        rows = self.tree.rows()
        with pytest.raises(error) as raised:
            self.unprotect(message)
        assert raised.type is error
        assert getattr(raised.value, "rule", None) == rule
        assert self.tree.rows() == rows
        after, message = self.private(APPLICATION)
        assert self.unprotect(message)[0] == after  # the real message of that generation still opens


def world_of(chosen: CipherSuite) -> SharedEpoch:
    signer, other = chosen.signature.generate(), chosen.signature.generate()
    tree = SecretTree(chosen, 4, chosen.generate_secret())
    context = GroupContext(ProtocolVersion.MLS10, chosen.id, b"group", 7, b"tree", b"transcript", ())
    secrets = chosen.generate_secret(), chosen.generate_secret()
    return SharedEpoch(chosen, signer, other, tree, *secrets, wire.encode(context))


def flips(data: bytes) -> list[bytes]:
    """`data` with each byte changed in turn."""
    return [data[:place] + bytes([byte ^ 1]) + data[place + 1 :] for place, byte in enumerate(data)]
