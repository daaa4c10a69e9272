"""Who is who: accounts, devices and the certificates that bind them. The Authentication Service of RFC 9420 §5.3.

- `accounts`: recovery phrase, root key, ids, certificates from the root to a device;
- `device_list`: which devices an account has now; `authenticate_leaf`, which says whose leaf it is;
- `organisation`: the organisation's key, its fingerprint and its key file;
- `roles`: certificates from that key to a worker, an admin or a bot; `role_of_leaf`, which says what a leaf's owner is;
- `revocations`: which of those hold no more;
- `permissions`: what each role may do, in one table;
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
from crypto.identity.organisation import (
    DEFAULT_COST,
    Argon2Cost,
    check_organisation_key,
    format_fingerprint,
    generate_key_file,
    generate_organisation_key,
    open_key_file,
    organisation_id_of,
    parse_fingerprint,
    read_key_file,
)
from crypto.identity.permissions import Action, Role, check_permission, may
from crypto.identity.revocations import (
    RevocationStatement,
    VerifiedRevocations,
    check_current,
    load_revocations,
    sign_revocations,
    verify_revocations,
)
from crypto.identity.roles import (
    POLICY_EXTENSION,
    ROLE_EXTENSION,
    Issuer,
    RoleCertificate,
    RoleChain,
    RoleGrant,
    VerifiedRole,
    certify_role,
    certify_role_as_admin,
    generate_serial,
    renewal_time,
    role_extension,
    role_of_leaf,
    verify_role,
)
from crypto.identity.sessions import answer_challenge, verify_session_answer

__all__ = [
    "DEFAULT_COST",
    "POLICY_EXTENSION",
    "ROLE_EXTENSION",
    "Action",
    "Argon2Cost",
    "CertifiedDevice",
    "CertifiedSigningKey",
    "DeviceCertificate",
    "DeviceChain",
    "DeviceList",
    "Issuer",
    "RevocationStatement",
    "Role",
    "RoleCertificate",
    "RoleChain",
    "RoleGrant",
    "SigningKeyCertificate",
    "VerifiedDevice",
    "VerifiedDeviceList",
    "VerifiedRevocations",
    "VerifiedRole",
    "account_id_of",
    "answer_challenge",
    "authenticate_leaf",
    "certify_device",
    "certify_leaf",
    "certify_role",
    "certify_role_as_admin",
    "certify_signing_key",
    "check_current",
    "check_organisation_key",
    "check_permission",
    "derive_root_key",
    "device_id_of",
    "format_account_id",
    "format_fingerprint",
    "generate_key_file",
    "generate_organisation_key",
    "generate_recovery_phrase",
    "generate_serial",
    "generate_signature_key_pair",
    "load_revocations",
    "may",
    "open_key_file",
    "organisation_id_of",
    "parse_account_id",
    "parse_fingerprint",
    "read_key_file",
    "renewal_time",
    "role_extension",
    "role_of_leaf",
    "sign_device_list",
    "sign_revocations",
    "verify_chain",
    "verify_device",
    "verify_device_list",
    "verify_listed",
    "verify_revocations",
    "verify_role",
    "verify_session_answer",
    "verify_signing_key",
]
