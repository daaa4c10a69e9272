"""Joining by Welcome (RFC 9420 §12.4.3): GroupInfo, GroupSecrets, Welcome."""

from __future__ import annotations

from typing import Annotated

from crypto.mls.extensions import Extensions
from crypto.mls.headers import WireFormat
from crypto.mls.key_schedule import GroupContext
from crypto.mls.psk import PSK_COUNT_MAX, PreSharedKeyID
from crypto.secret import Secret
from crypto.suites import HPKECiphertext
from crypto.wire import Max, Uint16, Uint32, struct, variant


@variant(WireFormat.GROUP_INFO)
class GroupInfo:
    """What a joiner must know of the group, signed by a member (§12.4.3)."""

    group_context: GroupContext
    extensions: Extensions
    confirmation_tag: bytes
    signer: Uint32
    signature: bytes


@struct
class PathSecret:
    """The path secret of the lowest node that the joiner shares with the committer (§12.4.3.1)."""

    path_secret: Secret


@struct
class GroupSecrets:
    """What is encrypted to one joiner (§12.4.3.1)."""

    joiner_secret: Secret
    path_secret: PathSecret | None
    psks: Annotated[tuple[PreSharedKeyID, ...], Max(PSK_COUNT_MAX)]


@struct
class EncryptedGroupSecrets:
    """GroupSecrets for the joiner whose KeyPackageRef is `new_member` (§12.4.3.1)."""

    new_member: bytes
    encrypted_group_secrets: HPKECiphertext


@variant(WireFormat.WELCOME)
class Welcome:
    """Lets the clients that a commit added into the epoch that it made (§12.4.3.1)."""

    cipher_suite: Uint16
    secrets: tuple[EncryptedGroupSecrets, ...]
    encrypted_group_info: bytes
