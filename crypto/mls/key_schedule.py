"""The key schedule (RFC 9420 §8): from one epoch's secrets to the next.

Owns the derivations of §8, the transcript hashes (§8.2) and the confirmation tag (§6.1). Does not own PSKs (`psk`) or
message keys (`secret_tree`). Every function is pure, and every secret is KDF.Nh bytes. `group_context` is the encoded
GroupContext of the epoch that is being entered: it enters several derivations and signatures, and is encoded once.

::

                     init_secret of epoch n-1
                               |
         commit_secret -> KDF.Extract
                               |
       ExpandWithLabel(., "joiner", GroupContext of epoch n, KDF.Nh)
                               |
                         joiner_secret
                               |
            psk_secret -> KDF.Extract --> DeriveSecret(., "welcome") = welcome_secret
                               |
       ExpandWithLabel(., "epoch", GroupContext of epoch n, KDF.Nh)
                               |
                         epoch_secret --> DeriveSecret(., <label>) = the fields of EpochSecrets
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.errors import UsageError
from crypto.kem import HPKEKeyPair
from crypto.mls.extensions import Extensions
from crypto.mls.framing import AuthenticatedContent
from crypto.mls.headers import Version
from crypto.secret import Secret
from crypto.suites import AEAD_NONCE_SIZE, CipherSuite
from crypto.wire import Uint16, Uint64, encode, encode_opaque, struct

_EXTERNAL_INIT = b"MLS 1.0 external init secret"


@struct
class GroupContext:
    """What all members agree on in an epoch (§8.1)."""

    version: Version
    cipher_suite: Uint16
    group_id: bytes
    epoch: Uint64
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: Extensions


@struct
class KeptSecrets:
    """What a member keeps of an epoch's secrets while the epoch lasts; a struct, so that it can be stored."""

    sender_data_secret: Secret
    exporter_secret: Secret
    external_secret: Secret
    confirmation_key: Secret
    membership_key: Secret
    resumption_psk: Secret
    epoch_authenticator: Secret
    init_secret: Secret


@dataclass(frozen=True, slots=True)
class EpochSecrets:
    """All that an epoch_secret gives (§8, table 4), in the order of the RFC's table.

    Lives only while the epoch is set up: `encryption_secret` is the root of the `SecretTree` and must not outlive its
    first use (§9.2). What the group state holds is `kept()`.
    """

    sender_data_secret: Secret
    encryption_secret: Secret
    exporter_secret: Secret
    external_secret: Secret
    confirmation_key: Secret
    membership_key: Secret
    resumption_psk: Secret
    epoch_authenticator: Secret
    init_secret: Secret

    def kept(self) -> KeptSecrets:
        """The same without `encryption_secret`."""
        return KeptSecrets(
            self.sender_data_secret,
            self.exporter_secret,
            self.external_secret,
            self.confirmation_key,
            self.membership_key,
            self.resumption_psk,
            self.epoch_authenticator,
            self.init_secret,
        )


def joiner_secret(suite: CipherSuite, init_secret: Secret, commit_secret: Secret, group_context: bytes) -> Secret:
    """What a Welcome hands to those who join in this commit.

    joiner_secret, §8. `init_secret` is the previous epoch's; `commit_secret` is all zero for a commit without a path.
    """
    extracted = suite.extract(init_secret, commit_secret)
    return suite.expand_with_label(extracted, "joiner", group_context, suite.hash_size)


def epoch_secrets(suite: CipherSuite, joiner_secret: Secret, psk_secret: Secret, group_context: bytes) -> EpochSecrets:
    """All secrets of an epoch.

    epoch_secret and the values derived from it, §8. `psk_secret` is all zero where no PSK takes part.
    """
    extracted = suite.extract(joiner_secret, psk_secret)
    epoch_secret = suite.expand_with_label(extracted, "epoch", group_context, suite.hash_size)
    return EpochSecrets(
        sender_data_secret=suite.derive_secret(epoch_secret, "sender data"),
        encryption_secret=suite.derive_secret(epoch_secret, "encryption"),
        exporter_secret=suite.derive_secret(epoch_secret, "exporter"),
        external_secret=suite.derive_secret(epoch_secret, "external"),
        confirmation_key=suite.derive_secret(epoch_secret, "confirm"),
        membership_key=suite.derive_secret(epoch_secret, "membership"),
        resumption_psk=suite.derive_secret(epoch_secret, "resumption"),
        epoch_authenticator=suite.derive_secret(epoch_secret, "authentication"),
        init_secret=suite.derive_secret(epoch_secret, "init"),
    )


def welcome_secret(suite: CipherSuite, joiner_secret: Secret, psk_secret: Secret) -> Secret:
    """What the GroupInfo inside a Welcome is encrypted under.

    welcome_secret, §8.
    """
    return suite.derive_secret(suite.extract(joiner_secret, psk_secret), "welcome")


def welcome_key_nonce(suite: CipherSuite, welcome_secret: Secret) -> tuple[Secret, bytes]:
    """The AEAD key and nonce of the GroupInfo inside a Welcome.

    welcome_key and welcome_nonce, §12.4.3.1: AEAD.Nk and AEAD.Nn bytes.
    """
    key = suite.expand_with_label(welcome_secret, "key", b"", suite.aead_key_size)
    return key, suite.expand_with_label(welcome_secret, "nonce", b"", AEAD_NONCE_SIZE).reveal()


def external_key_pair(suite: CipherSuite, external_secret: Secret) -> HPKEKeyPair:
    """The key pair that all members hold, for clients that join by themselves.

    external_priv and external_pub, §8.
    """
    return suite.derive_key_pair(external_secret)


def send_external_init(suite: CipherSuite, external_pub: bytes) -> tuple[bytes, Secret]:
    """Start an epoch from outside: kem_output and init_secret, §8.3. Raises `DecodeError` for a bad key."""
    return suite.hpke.send_export(external_pub, b"", _EXTERNAL_INIT, suite.hash_size)


def receive_external_init(suite: CipherSuite, external_secret: Secret, kem_output: bytes) -> Secret:
    """The init_secret that a joiner has sent, §8.3. Raises `DecodeError` for bytes that are no KEM output."""
    keys = external_key_pair(suite, external_secret)
    return suite.hpke.receive_export(keys, b"", kem_output, _EXTERNAL_INIT, suite.hash_size)


def export(suite: CipherSuite, exporter_secret: Secret, label: str, context: bytes, length: int) -> Secret:
    """A secret of `length` bytes for use outside MLS, the same for all members of the epoch.

    MLS-Exporter(Label, Context, Length), §8.5. Each label belongs to one use. Raises `UsageError` for more bytes than
    the KDF can give (255 * KDF.Nh).
    """
    if not 0 <= length <= 255 * suite.hash_size:
        raise UsageError(f"an exporter gives up to {255 * suite.hash_size} bytes, not {length}")
    return suite.expand_with_label(suite.derive_secret(exporter_secret, label), "exported", suite.hash(context), length)


def confirmed_transcript_hash(suite: CipherSuite, interim: bytes, commit: AuthenticatedContent) -> bytes:
    """The hash over all commits up to and with this one, as it enters the new epoch's GroupContext.

    confirmed_transcript_hash, §8.2. `interim` is the interim transcript hash before this commit. The commit is signed;
    its confirmation tag, which depends on this hash, need not be there yet.
    """
    covered = commit.wire_format.to_bytes(2, "big") + encode(commit.content) + encode_opaque(commit.auth.signature)
    return suite.hash(interim + covered)


def interim_transcript_hash(suite: CipherSuite, confirmed: bytes, tag: bytes) -> bytes:
    """The hash over all commits with their confirmation tags, from which the next commit goes on.

    interim_transcript_hash, §8.2. At the creation of a group `confirmed` is empty (§11).
    """
    return suite.hash(confirmed + encode_opaque(tag))


def confirmation_tag(suite: CipherSuite, confirmation_key: Secret, confirmed: bytes) -> bytes:
    """Proves that the committer is in the same state as the receiver, KDF.Nh bytes.

    confirmation_tag, §6.1: over the new epoch's confirmed transcript hash, under the new epoch's key.
    """
    return suite.mac(confirmation_key, confirmed)


def verify_confirmation_tag(suite: CipherSuite, confirmation_key: Secret, confirmed: bytes, tag: bytes) -> None:
    """Raise `AuthenticationError` unless `tag` is the whole confirmation tag (§6.1, §12.4.2)."""
    suite.verify_mac(confirmation_key, confirmed, tag)
