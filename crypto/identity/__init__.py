"""Who is who: accounts, devices and the certificates that bind them. The Authentication Service of RFC 9420 §5.3.

- `accounts`: recovery phrase, root key, ids, certificates from the root to a device;
- `device_list`: which devices an account has now; `authenticate_leaf`, which says whose leaf it is;
- `linking`, `link_codes`: a second device, in one round trip through a server that nobody trusts;
- `recovery`: devices that go, a stolen phone, an account that comes back from its phrase;
- `sessions`: how a device proves itself to a server;
- `signing`: the one shape and the labels of everything signed here.
"""

from __future__ import annotations

from crypto.identity.accounts import (
    CertifiedDevice,
    CertifiedSigningKey,
    DeviceCertificate,
    DeviceChain,
    SigningKeyCertificate,
    account_id_of,
    certify_device,
    certify_signing_key,
    derive_root_key,
    device_id_of,
    format_account_id,
    generate_recovery_phrase,
    generate_signature_key_pair,
    parse_account_id,
    verify_chain,
    verify_device,
    verify_signing_key,
)
from crypto.identity.device_list import (
    DeviceList,
    VerifiedDevice,
    VerifiedDeviceList,
    authenticate_leaf,
    certify_leaf,
    sign_device_list,
    sign_next_device_list,
    verify_device_list,
    verify_listed,
)
from crypto.identity.link_codes import (
    LinkCode,
    LinkScan,
    format_link_code,
    parse_link_code,
    parse_link_scan,
)
from crypto.identity.linking import (
    CertifiedLink,
    ConfirmedOffer,
    FetchedOffer,
    HistoryArchive,
    LinkContents,
    LinkOffer,
    PendingLink,
    VerifiedLink,
    certify_link,
    confirm_compared,
    confirm_scanned,
    generate_link_offer,
    open_link_package,
    read_link_offer,
)
from crypto.identity.recovery import (
    ReplacedSigningKey,
    check_newest,
    recover,
    replace_signing_key,
    unlink_devices,
)
from crypto.identity.sessions import answer_challenge, verify_session_answer

__all__ = [
    "CertifiedDevice",
    "CertifiedLink",
    "CertifiedSigningKey",
    "ConfirmedOffer",
    "DeviceCertificate",
    "DeviceChain",
    "DeviceList",
    "FetchedOffer",
    "HistoryArchive",
    "LinkCode",
    "LinkContents",
    "LinkOffer",
    "LinkScan",
    "PendingLink",
    "ReplacedSigningKey",
    "SigningKeyCertificate",
    "VerifiedDevice",
    "VerifiedDeviceList",
    "VerifiedLink",
    "account_id_of",
    "answer_challenge",
    "authenticate_leaf",
    "certify_device",
    "certify_leaf",
    "certify_link",
    "certify_signing_key",
    "check_newest",
    "confirm_compared",
    "confirm_scanned",
    "derive_root_key",
    "device_id_of",
    "format_account_id",
    "format_link_code",
    "generate_link_offer",
    "generate_recovery_phrase",
    "generate_signature_key_pair",
    "open_link_package",
    "parse_account_id",
    "parse_link_code",
    "parse_link_scan",
    "read_link_offer",
    "recover",
    "replace_signing_key",
    "sign_device_list",
    "sign_next_device_list",
    "unlink_devices",
    "verify_chain",
    "verify_device",
    "verify_device_list",
    "verify_listed",
    "verify_session_answer",
    "verify_signing_key",
]
