"""Who is who: accounts, devices and the certificates that bind them. The Authentication Service of RFC 9420 §5.3.

- `accounts`: recovery phrase, root key, ids, certificates from the root to a device;
- `device_list`: which devices an account has now; `authenticate_leaf`, which says whose leaf it is;
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
    verify_device_list,
    verify_listed,
)
from crypto.identity.sessions import answer_challenge, verify_session_answer

__all__ = [
    "CertifiedDevice",
    "CertifiedSigningKey",
    "DeviceCertificate",
    "DeviceChain",
    "DeviceList",
    "SigningKeyCertificate",
    "VerifiedDevice",
    "VerifiedDeviceList",
    "account_id_of",
    "answer_challenge",
    "authenticate_leaf",
    "certify_device",
    "certify_leaf",
    "certify_signing_key",
    "derive_root_key",
    "device_id_of",
    "format_account_id",
    "generate_recovery_phrase",
    "generate_signature_key_pair",
    "parse_account_id",
    "sign_device_list",
    "verify_chain",
    "verify_device",
    "verify_device_list",
    "verify_listed",
    "verify_session_answer",
    "verify_signing_key",
]
