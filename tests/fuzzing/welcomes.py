"""Target for Welcomes: as they come, and with insides that a hostile member has sealed, signed and confirmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crypto.errors import DecodeError, RuleViolation
from crypto.kem import HPKEKeyPair
from crypto.mls.group import Group, join
from crypto.mls.key_schedule import GroupContext, confirmation_tag, epoch_secrets, welcome_key_nonce, welcome_secret
from crypto.mls.mls_message import MLSMessage, decode_message, encode_message
from crypto.mls.psk import derive_psk_secret
from crypto.mls.psk_lookup import PSKLookup, find_psks, own_psks_first
from crypto.mls.snapshot import load, rows
from crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome
from crypto.secret import Secret
from crypto.wire import decode, encode
from tests.crypto.world import NOW
from tests.fuzzing.decoders import REFUSALS, group_info_signed_anew
from tests.fuzzing.target import Target, Way, accepted, decoded
from tests.fuzzing.world import OPEN, SUITE, Invitation, find_psk, world


def join_by(welcome: bytes, invitation: Invitation | None = None) -> Group:
    """Enter, as Gil unless somebody else is invited. The group can be stored, and spoken in."""
    invited = world().invitation if invitation is None else invitation
    staged = join(
        welcome,
        {invited.bundle.reference: invited.bundle},
        invited.signer,
        now=NOW,
        find_psk=_lookup(invited),
        previous=invited.previous,
        config=OPEN,
    )
    with accepted():
        assert staged.used_reference == invited.bundle.reference
        assert staged.inviter in staged.members
        group = staged.accept()
        assert_can_be_stored(group)
        group.protect(b"hello")
    return group


def assert_can_be_stored(group: Group) -> None:
    """The rows of a group are read back as the same group."""
    stored = rows(group)
    assert rows(load(stored, group.state.signer, group.state.config)) == stored


def _lookup(invited: Invitation) -> PSKLookup:
    return find_psk if invited.previous is None else own_psks_first(invited.previous.state, find_psk)


@dataclass(frozen=True)
class Inside:
    """What a Welcome holds for one client, and how to seal something else in its place."""

    invitation: Invitation

    @property
    def welcome(self) -> Welcome:
        body = decode_message(self.invitation.welcome).body
        assert isinstance(body, Welcome)
        return body

    def secrets(self) -> bytes:
        """The GroupSecrets."""
        (entry,) = self.welcome.secrets
        sealed, context = entry.encrypted_group_secrets, self.welcome.encrypted_group_info
        bundle = self.invitation.bundle
        keys = HPKEKeyPair(bundle.init_private, bundle.key_package.init_key)
        return SUITE.decrypt_with_label(keys, "Welcome", context, sealed).reveal()

    def group_info(self) -> bytes:
        """The GroupInfo."""
        key, nonce = self._key_nonce(decode(GroupSecrets, self.secrets()))
        return SUITE.aead_open(key, nonce, b"", self.welcome.encrypted_group_info)

    def _key_nonce(self, secrets: GroupSecrets) -> tuple[Secret, bytes]:
        return welcome_key_nonce(SUITE, welcome_secret(SUITE, secrets.joiner_secret, self._psk_secret(secrets)))

    def _psk_secret(self, secrets: GroupSecrets) -> Secret:
        """What the pre-shared keys give; a sender need not know those that it names."""
        try:
            return derive_psk_secret(SUITE, find_psks("W3", secrets.psks, _lookup(self.invitation)))
        except RuleViolation:
            return SUITE.zero_secret

    def sealed(self, group_info: bytes, secrets: bytes) -> bytes:
        """A Welcome with these insides. GroupSecrets that do not decode cannot give the key of the GroupInfo."""
        try:
            key, nonce = self._key_nonce(decode(GroupSecrets, secrets))
        except DecodeError:
            key, nonce = self._key_nonce(decode(GroupSecrets, self.secrets()))
        encrypted = SUITE.aead_seal(key, nonce, b"", group_info)
        bundle = self.invitation.bundle
        sealed = SUITE.encrypt_with_label(bundle.key_package.init_key, "Welcome", encrypted, secrets)
        return encode_message(Welcome(SUITE.id, (EncryptedGroupSecrets(bundle.reference, sealed),), encrypted))

    def confirmed(self, group_info: GroupInfo, secrets: GroupSecrets | None = None) -> GroupInfo:
        """The GroupInfo with tree hash, confirmation tag and signature that hold."""
        given = decode(GroupSecrets, self.secrets()) if secrets is None else secrets

        def tag(context: GroupContext) -> bytes:
            epoch = epoch_secrets(SUITE, given.joiner_secret, self._psk_secret(given), encode(context))
            return confirmation_tag(SUITE, epoch.confirmation_key, context.confirmed_transcript_hash)

        return group_info_signed_anew(group_info, tag)

    def join(self, group_info: bytes, secrets: bytes) -> None:
        """Enter by a Welcome with these insides."""
        join_by(self.sealed(group_info, secrets), self.invitation)

    # What the fuzzer gives

    def join_by_group_info(self, data: bytes) -> None:
        self.join(data, self.secrets())

    def join_by_group_info_signed_anew(self, data: bytes) -> None:
        self.join(encode(self.confirmed(decoded(GroupInfo, data))), self.secrets())

    def join_by_group_secrets(self, data: bytes) -> None:
        self.join(self.group_info(), data)

    def join_by_group_secrets_confirmed(self, data: bytes) -> None:
        """Another joiner secret leads to another epoch: the GroupInfo is made to fit."""
        secrets = decoded(GroupSecrets, data)
        self.join(encode(self.confirmed(decode(GroupInfo, self.group_info()), secrets)), data)


def _gil() -> Inside:
    return Inside(world().invitation)


def _bob() -> Inside:
    return Inside(world().branching)


def _way(
    name: str,
    inside: Callable[[], Inside],
    run: Callable[[Inside, bytes], None],
    sample: Callable[[Inside], bytes],
    shape: type,
) -> Way:
    return Way(name, lambda data: run(inside(), data), REFUSALS, lambda: [sample(inside())], shape)


_INFO_CONFIRMED = Inside.join_by_group_info_signed_anew, Inside.group_info, GroupInfo
_SECRETS_CONFIRMED = Inside.join_by_group_secrets_confirmed, Inside.secrets, GroupSecrets

WELCOME = Target(
    "welcome",
    (
        Way("as it is", join_by, REFUSALS, lambda: [world().invitation.welcome], MLSMessage),
        _way("group info", _gil, Inside.join_by_group_info, Inside.group_info, GroupInfo),
        _way("group info signed anew", _gil, *_INFO_CONFIRMED),
        _way("group secrets", _gil, Inside.join_by_group_secrets, Inside.secrets, GroupSecrets),
        _way("group secrets confirmed", _gil, *_SECRETS_CONFIRMED),
        _way("branch, group info signed anew", _bob, *_INFO_CONFIRMED),
        _way("branch, group secrets confirmed", _bob, *_SECRETS_CONFIRMED),
    ),
)
