"""Target for Welcomes: as they come, and with insides that a hostile member has sealed, signed and confirmed."""

from __future__ import annotations

from collections.abc import Callable

from crypto.errors import DecodeError, RuleViolation
from crypto.mls.framing import MLSMessage, decode_message, encode_message
from crypto.mls.group import Group, join
from crypto.mls.key_schedule import GroupContext, confirmation_tag, epoch_secrets, welcome_key_nonce
from crypto.mls.psk import psk_secret
from crypto.mls.snapshot import load, rows
from crypto.mls.state import find_psks
from crypto.mls.welcome import EncryptedGroupSecrets, GroupInfo, GroupSecrets, Welcome
from crypto.secret import Secret
from crypto.wire import decode, encode
from tests.crypto.world import NOW
from tests.fuzzing.decoders import REFUSALS, group_info_signed_anew
from tests.fuzzing.target import Target, Way, decoded
from tests.fuzzing.world import OPEN, SUITE, find_psk, world


def join_by(welcome: bytes) -> Group:
    """Enter as Gil. The group that a Welcome leads to can be stored, and spoken in."""
    w = world()
    staged = join(welcome, {w.joiner.reference: w.joiner}, w.gil, now=NOW, find_psk=find_psk, config=OPEN)
    assert staged.used_reference == w.joiner.reference
    assert staged.inviter in staged.members
    group = staged.accept()
    assert_can_be_stored(group)
    group.protect(b"hello")
    return group


def assert_can_be_stored(group: Group) -> None:
    """The rows of a group are read back as the same group."""
    stored = rows(group)
    assert rows(load(stored, group.state.signer, group.state.config)) == stored


def _welcome() -> Welcome:
    message = world().adding.welcome
    assert message is not None
    body = decode_message(message).body
    assert isinstance(body, Welcome)
    return body


def _group_secrets() -> bytes:
    """What Ada's Welcome holds for Gil."""
    welcome, bundle = _welcome(), world().joiner
    (entry,) = welcome.secrets
    sealed, context = entry.encrypted_group_secrets, welcome.encrypted_group_info
    return SUITE.decrypt_with_label(bundle.init_private, "Welcome", context, sealed).reveal()


def _group_info() -> bytes:
    """What Ada's Welcome says of the group."""
    key, nonce = _key_nonce(decode(GroupSecrets, _group_secrets()))
    return SUITE.aead_open(key, nonce, b"", _welcome().encrypted_group_info)


def _key_nonce(secrets: GroupSecrets) -> tuple[Secret, bytes]:
    return welcome_key_nonce(SUITE, secrets.joiner_secret, _chained(secrets))


def _chained(secrets: GroupSecrets) -> Secret:
    """What the pre-shared keys give; a sender need not know those that it names."""
    try:
        return psk_secret(SUITE, find_psks("W3", secrets.psks, find_psk))
    except RuleViolation:
        return SUITE.zero_secret


def _sealed(group_info: bytes, secrets: bytes) -> bytes:
    """A Welcome for Gil with these insides. GroupSecrets that do not decode cannot give the key of the GroupInfo."""
    try:
        key, nonce = _key_nonce(decode(GroupSecrets, secrets))
    except DecodeError:
        key, nonce = _key_nonce(decode(GroupSecrets, _group_secrets()))
    encrypted = SUITE.aead_seal(key, nonce, b"", group_info)
    package = world().joiner.key_package
    sealed = SUITE.encrypt_with_label(package.init_key, "Welcome", encrypted, secrets)
    entry = EncryptedGroupSecrets(world().joiner.reference, sealed)
    return encode_message(Welcome(SUITE.id, (entry,), encrypted))


def _join_by_group_info(data: bytes) -> None:
    join_by(_sealed(data, _group_secrets()))


def _join_by_group_info_signed_anew(data: bytes) -> None:
    join_by(_sealed(encode(_confirmed(decoded(GroupInfo, data))), _group_secrets()))


def _join_by_group_secrets(data: bytes) -> None:
    decoded(GroupSecrets, data)
    join_by(_sealed(_group_info(), data))


def _join_by_group_secrets_confirmed(data: bytes) -> None:
    """Another joiner secret leads to another epoch: the GroupInfo is made to fit."""
    secrets = decoded(GroupSecrets, data)
    group_info = _confirmed(decode(GroupInfo, _group_info()), secrets)
    join_by(_sealed(encode(group_info), data))


def _confirmed(group_info: GroupInfo, secrets: GroupSecrets | None = None) -> GroupInfo:
    """The GroupInfo with tree hash, confirmation tag and signature that hold."""
    given = decode(GroupSecrets, _group_secrets()) if secrets is None else secrets

    def tag(context: GroupContext) -> bytes:
        epoch = epoch_secrets(SUITE, given.joiner_secret, _chained(given), encode(context))
        return confirmation_tag(SUITE, epoch.confirmation_key, context.confirmed_transcript_hash)

    return group_info_signed_anew(group_info, tag)


def _one(sample: Callable[[], bytes]) -> Callable[[], list[bytes]]:
    return lambda: [sample()]


WELCOME = Target(
    "welcome",
    (
        Way("as it is", join_by, REFUSALS, _one(lambda: encode_message(_welcome())), MLSMessage),
        Way("group info", _join_by_group_info, REFUSALS, _one(_group_info), GroupInfo),
        Way("group info signed anew", _join_by_group_info_signed_anew, REFUSALS, _one(_group_info), GroupInfo),
        Way("group secrets", _join_by_group_secrets, REFUSALS, _one(_group_secrets), GroupSecrets),
        Way("group secrets confirmed", _join_by_group_secrets_confirmed, REFUSALS, _one(_group_secrets), GroupSecrets),
    ),
)
