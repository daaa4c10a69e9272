"""Welcomes: the published vectors, and what a Welcome shows before it is accepted."""

from __future__ import annotations

import pytest

from crypto.errors import DecodeError, UsageError
from crypto.kem import HPKEKeyPair
from crypto.mls.group import join
from crypto.mls.key_package import KeyPackage, key_package_reference
from crypto.mls.key_schedule import epoch_secrets, verify_confirmation_tag, welcome_key_nonce, welcome_secret
from crypto.mls.mls_message import decode_message, encode_message
from crypto.mls.welcome import GroupInfo, GroupSecrets, Welcome
from crypto.secret import Secret
from crypto.suites import CipherSuite, suite_of
from crypto.wire import decode, encode, encode_unsigned
from tests.crypto.world import NOW, world_of
from tests.vectors import Case, each


def _key_nonce(suite: CipherSuite, secrets: GroupSecrets) -> tuple[Secret, bytes]:
    return welcome_key_nonce(suite, welcome_secret(suite, secrets.joiner_secret, suite.zero_secret))


@each("mls/welcome.json")
def test_published_welcomes_open(case: Case) -> None:
    """These are no whole groups (the tree is missing), so the steps are taken one by one."""
    belongs = suite_of(case["cipher_suite"])
    key_package = decode_message(bytes.fromhex(case["key_package"])).body
    welcome = decode_message(bytes.fromhex(case["welcome"])).body
    assert isinstance(key_package, KeyPackage)
    assert isinstance(welcome, Welcome)
    assert welcome.cipher_suite == belongs.id
    reference = key_package_reference(belongs, key_package)
    (entry,) = [entry for entry in welcome.secrets if entry.new_member == reference]

    init_private = Secret(bytes.fromhex(case["init_priv"]))
    keys = HPKEKeyPair(init_private, key_package.init_key)
    opened = belongs.decrypt_with_label(keys, "Welcome", welcome.encrypted_group_info, entry.encrypted_group_secrets)
    secrets = decode(GroupSecrets, opened.reveal())
    assert secrets.psks == ()
    key, nonce = _key_nonce(belongs, secrets)
    group_info = decode(GroupInfo, belongs.aead_open(key, nonce, b"", welcome.encrypted_group_info))

    signer = bytes.fromhex(case["signer_pub"])
    belongs.verify_with_label(signer, "GroupInfoTBS", encode_unsigned(group_info), group_info.signature)
    context = group_info.group_context
    epoch = epoch_secrets(belongs, secrets.joiner_secret, belongs.zero_secret, encode(context))
    verify_confirmation_tag(
        belongs, epoch.confirmation_key, context.confirmed_transcript_hash, group_info.confirmation_tag
    )


@each("mls/welcome.json")
def test_our_welcomes_to_published_key_packages_open(case: Case) -> None:
    """The other direction: what the published Welcome says, said again by us."""
    belongs = suite_of(case["cipher_suite"])
    welcome = decode_message(bytes.fromhex(case["welcome"])).body
    key_package = decode_message(bytes.fromhex(case["key_package"])).body
    assert isinstance(welcome, Welcome)
    assert isinstance(key_package, KeyPackage)
    keys = HPKEKeyPair(Secret(bytes.fromhex(case["init_priv"])), key_package.init_key)
    (entry,) = [each for each in welcome.secrets if each.new_member == key_package_reference(belongs, key_package)]
    info = welcome.encrypted_group_info
    secrets = belongs.decrypt_with_label(keys, "Welcome", info, entry.encrypted_group_secrets)
    key, nonce = _key_nonce(belongs, decode(GroupSecrets, secrets.reveal()))
    group_info = belongs.aead_open(key, nonce, b"", info)
    assert belongs.aead_seal(key, nonce, b"", group_info) == info
    sealed = belongs.encrypt_with_label(key_package.init_key, "Welcome", info, secrets.reveal())
    assert belongs.decrypt_with_label(keys, "Welcome", info, sealed) == secrets
    assert decode_message(encode_message(welcome)).body == welcome


def test_a_staged_join_shows_who_is_there_before_it_is_accepted() -> None:
    world = world_of(suite_of(1), 3)
    welcome = world.pending("person 1", adds=["newcomer"]).welcome
    newcomer = world.people["newcomer"]
    assert welcome is not None
    assert newcomer.bundle is not None
    staged = join(welcome, {newcomer.bundle.reference: newcomer.bundle}, newcomer.signer, now=NOW)
    assert staged.group_id == world["person 0"].group_id
    assert staged.inviter == next(member for member in staged.members if member.credential.identity == b"person 1")
    assert [member.credential.identity for member in staged.members] == [
        b"person 0", b"person 1", b"person 2", b"newcomer"
    ]  # fmt: skip
    assert staged.extensions == ()
    assert staged.used_reference == newcomer.bundle.reference
    assert staged.accept().epoch == world["person 0"].epoch + 1


def test_one_welcome_serves_all_who_were_added() -> None:
    world = world_of(suite_of(1), 2)
    pending = world.pending("person 0", adds=["a", "b", "c"])
    assert pending.welcome is not None
    body = decode_message(pending.welcome).body
    assert isinstance(body, Welcome)
    assert len(body.secrets) == 3
    world.win("person 0", pending)


def test_a_welcome_for_another_signature_key() -> None:
    world = world_of(suite_of(1), 4)
    welcome = world.pending("person 0", adds=["newcomer"]).welcome
    newcomer = world.people["newcomer"]
    newcomer.signer = suite_of(1).signature.generate()
    with pytest.raises(UsageError):
        newcomer.accept(welcome)


def test_what_is_no_welcome() -> None:
    world = world_of(suite_of(1), 2)
    _, message = world["person 0"].protect(b"hello")
    with pytest.raises(DecodeError):
        join(message, {}, world.people["person 0"].signer, now=NOW)
