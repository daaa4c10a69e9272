"""The key schedule and the transcript hashes: the official vectors, and the limits of the exporter."""

from __future__ import annotations

import dataclasses

import pytest

from crypto import wire
from crypto.errors import AuthenticationError, UsageError
from crypto.mls.framing import AuthenticatedContent, CommitAuth
from crypto.mls.headers import ProtocolVersion
from crypto.mls.key_schedule import (
    EpochSecrets,
    GroupContext,
    KeptSecrets,
    confirmation_tag,
    confirmed_transcript_hash,
    epoch_secrets,
    export,
    interim_transcript_hash,
    joiner_secret,
    verify_confirmation_tag,
    welcome_key_nonce,
    welcome_secret,
)
from crypto.mls.proposals import Commit
from crypto.secret import Secret
from crypto.suites import SUITES, CipherSuite, suite_of
from tests.crypto.matrix import without_group
from tests.vectors import Case, each

EVERY_SUITE = pytest.mark.parametrize("chosen", SUITES.values(), ids=[str(suite_id) for suite_id in SUITES])


@each("mls/key-schedule.json")
def test_published_epochs(case: Case) -> None:
    chosen = suite_of(case["cipher_suite"])
    init_secret = Secret(bytes.fromhex(case["initial_init_secret"]))
    assert case["epochs"]
    for number, epoch in enumerate(case["epochs"]):
        tree_hash, transcript_hash = (bytes.fromhex(epoch[name]) for name in ("tree_hash", "confirmed_transcript_hash"))
        group_id = bytes.fromhex(case["group_id"])
        context = GroupContext(ProtocolVersion.MLS10, chosen.id, group_id, number, tree_hash, transcript_hash, ())
        encoded = wire.encode(context)
        assert encoded.hex() == epoch["group_context"]

        commit_secret, psk = (Secret(bytes.fromhex(epoch[name])) for name in ("commit_secret", "psk_secret"))
        joiner = joiner_secret(chosen, init_secret, commit_secret, encoded)
        assert joiner.reveal().hex() == epoch["joiner_secret"]
        assert welcome_secret(chosen, joiner, psk).reveal().hex() == epoch["welcome_secret"]
        secrets = epoch_secrets(chosen, joiner, psk, encoded)
        for field in dataclasses.fields(EpochSecrets):
            assert getattr(secrets, field.name).reveal().hex() == epoch[field.name], field.name
        assert chosen.derive_key_pair(secrets.external_secret).public.hex() == epoch["external_pub"]

        exporter = epoch["exporter"]
        context_of_export = bytes.fromhex(exporter["context"])
        exported = export(chosen, secrets.exporter_secret, exporter["label"], context_of_export, exporter["length"])
        assert exported.reveal().hex() == exporter["secret"]
        init_secret = secrets.init_secret


@each("mls/transcript-hashes.json")
def test_published_transcript_hashes(case: Case) -> None:
    chosen = suite_of(case["cipher_suite"])
    commit = wire.decode(AuthenticatedContent, bytes.fromhex(case["authenticated_content"]))
    assert isinstance(commit.content.content, Commit)
    assert isinstance(commit.auth, CommitAuth)
    before, tag = bytes.fromhex(case["interim_transcript_hash_before"]), commit.auth.confirmation_tag
    confirmed = confirmed_transcript_hash(chosen, before, commit)
    assert confirmed.hex() == case["confirmed_transcript_hash_after"]
    assert interim_transcript_hash(chosen, confirmed, tag).hex() == case["interim_transcript_hash_after"]

    key = Secret(bytes.fromhex(case["confirmation_key"]))
    assert confirmation_tag(chosen, key, confirmed) == tag
    verify_confirmation_tag(chosen, key, confirmed, tag)
    for wrong in (b"", tag[:1], tag[:-1], tag + b"\0", bytes([tag[0] ^ 1]) + tag[1:]):  # U11
        with pytest.raises(AuthenticationError):
            verify_confirmation_tag(chosen, key, confirmed, wrong)
    with pytest.raises(AuthenticationError):
        verify_confirmation_tag(chosen, key, before, tag)


@EVERY_SUITE
def test_what_is_kept_of_an_epoch_lacks_the_root_of_the_secret_tree(chosen: CipherSuite) -> None:
    secrets = epoch_secrets(chosen, chosen.generate_secret(), chosen.zero_secret, b"context")
    kept = secrets.kept()
    names = {field.name for field in dataclasses.fields(EpochSecrets)}
    assert {field.name for field in dataclasses.fields(KeptSecrets)} == names - {"encryption_secret"}
    for field in dataclasses.fields(KeptSecrets):
        assert getattr(kept, field.name) is getattr(secrets, field.name)
    assert secrets.encryption_secret.reveal() not in wire.encode(kept)
    assert wire.decode(KeptSecrets, wire.encode(kept)) == kept


@EVERY_SUITE
def test_every_input_of_the_schedule_changes_every_secret(chosen: CipherSuite) -> None:
    zero, one = chosen.zero_secret, Secret(b"\1" * chosen.hash_size)
    assert len({joiner_secret(chosen, *inputs).reveal() for inputs in (
        (zero, zero, b""), (one, zero, b""), (zero, one, b""), (zero, zero, b"context"),
    )}) == 4  # fmt: skip
    seen = [
        getattr(epoch_secrets(chosen, *inputs), field.name).reveal()
        for inputs in ((zero, zero, b""), (one, zero, b""), (zero, one, b""), (zero, zero, b"context"))
        for field in dataclasses.fields(EpochSecrets)
    ]
    assert len(set(seen)) == 4 * 9


@EVERY_SUITE
def test_the_key_of_a_welcome_comes_from_its_secret(chosen: CipherSuite) -> None:
    """§12.4.3.1; the vectors reach it only through whole Welcomes."""
    secret = chosen.generate_secret()
    key, nonce = welcome_key_nonce(chosen, secret)
    assert key == chosen.expand_with_label(secret, "key", b"", chosen.aead_key_size)
    assert Secret(nonce) == chosen.expand_with_label(secret, "nonce", b"", 12)


@without_group("the derivation of one secret, in every suite there is")
@EVERY_SUITE
def test_s4_the_exporter_gives_what_the_kdf_can_and_no_more(chosen: CipherSuite) -> None:
    secret, limit = chosen.generate_secret(), 255 * chosen.hash_size
    assert [len(export(chosen, secret, "label", b"", length)) for length in (0, 1, 32, limit)] == [0, 1, 32, limit]
    for length in (-1, limit + 1, 65536, 2**32):
        with pytest.raises(UsageError, match=f"up to {limit} bytes"):
            export(chosen, secret, "label", b"", length)


@without_group("the derivation of one secret, in every suite there is")
def test_s4_label_context_and_length_each_give_another_secret() -> None:
    chosen, secret = SUITES[1], SUITES[1].generate_secret()
    exported = [
        export(chosen, secret, "label", b"context", 32),
        export(chosen, secret, "labem", b"context", 32),
        export(chosen, secret, "label", b"contexu", 32),
        export(chosen, secret, "label", b"", 32),
        export(chosen, chosen.generate_secret(), "label", b"context", 32),
    ]
    shorter = export(chosen, secret, "label", b"context", 31)
    assert len({value.reveal() for value in exported}) == 5
    assert shorter.reveal() != exported[0].reveal()[:31]
