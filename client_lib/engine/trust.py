"""Whom we believe: the Authentication Service of our groups (RFC 9420 §5.3.1), over what we know of accounts.

A leaf is believed when its certificate chain holds, its device is on the newest signed device list of its account that
we have seen, and the chat's kind allows it. Nothing that the server says about an account is used before its
signatures hold, and a device list never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

import msgspec

from client_lib.engine.draft import Draft
from client_lib.errors import TrustError
from crypto.errors import CryptoError, IdentityError
from crypto.identity.accounts import DeviceChain, SigningKeyCertificate, device_id_of
from crypto.identity.device_list import DeviceList, VerifiedDeviceList, certify_leaf, verify_device_list, verify_listed
from crypto.mls.credentials import AnyCredential, BasicCredential
from crypto.mls.group import Member, ReceivedProposal, StagedCommit
from crypto.mls.proposals import Add, ReInit, Update
from crypto.mls.verified_key_package import verify_key_package
from crypto.wire import decode
from protocol.api import Account, ClaimedKeyPackage
from protocol.frames import ChatKind
from protocol.limits import PRIVATE_CHAT_ACCOUNTS_MAX


class HasCredential(Protocol):
    """A member or a leaf."""

    @property
    def credential(self) -> AnyCredential: ...
    @property
    def signature_key(self) -> bytes: ...


class NeedAccounts(Exception):
    """These accounts' device lists must be fetched and learnt before this step can be judged; nothing has changed."""

    def __init__(self, account_ids: frozenset[bytes]) -> None:
        super().__init__(f"{len(account_ids)} device lists are missing")
        self.account_ids = account_ids


def account_of(leaf: HasCredential) -> bytes:
    """The account of a leaf that has been judged before."""
    assert isinstance(leaf.credential, BasicCredential)
    return _account_in(leaf.credential.identity)


def device_of(leaf: HasCredential) -> bytes:
    """The device of a leaf."""
    return device_id_of(leaf.signature_key)


def learn_account(draft: Draft, account_id: bytes, account: Account) -> None:
    """Verify and keep what the server shows of an account. Raises `TrustError`: nothing of it is kept."""
    try:
        certificate = decode(SigningKeyCertificate, account.signing_key_certificate)
        device_list = decode(DeviceList, account.device_list)
        verified = verify_device_list(device_list, certificate, draft.device_list(account_id))
    except CryptoError as error:
        raise TrustError(f"the server shows an account that does not hold: {error}") from error
    if verified.account_id != account_id:
        raise TrustError("the server shows another account than the one asked for")
    draft.keep_account(verified, msgspec.msgpack.encode(account))


def judge_members(draft: Draft, members: Iterable[HasCredential]) -> None:
    """Believe every one of these leaves, or raise `TrustError`; `NeedAccounts` if that cannot be said yet."""
    missing = set()
    for member in members:
        try:
            device = certify_leaf(member.credential, member.signature_key)
        except CryptoError as error:
            raise TrustError(f"a member is not who it claims to be: {error}") from error
        try:
            verify_listed(device, draft.device_list(device.account_id))
        except IdentityError as error:
            if device.account_id in draft.fresh:
                raise TrustError(f"a member is not who it claims to be: {error}") from error
            missing.add(device.account_id)
    if missing:
        raise NeedAccounts(frozenset(missing))


NO_REINIT = "a member wants to end this chat in favour of another, which this version cannot follow"


def judge_proposal(draft: Draft, kind: ChatKind, members: Iterable[Member], received: ReceivedProposal) -> None:
    """Believe whom a proposal brings, or raise as `judge_members` does: what we keep, we would commit ourselves."""
    match received.proposal.proposal:
        case Add(key_package=package):
            judge_members(draft, [package.leaf_node])
            check_kind(kind, [*members, package.leaf_node])
        case Update(leaf_node=leaf):
            if device_of(leaf) != device_of(received.sender):  # rule L16
                raise TrustError("a member proposed to replace its leaf by another device's")
            judge_members(draft, [leaf])
        case ReInit():
            raise TrustError(NO_REINIT)
        case _:
            return


def judge_commit(draft: Draft, kind: ChatKind, before: Iterable[Member], staged: StagedCommit) -> None:
    """Believe what a commit makes of the group, or raise as `judge_members` does."""
    if staged.reinit is not None:
        raise TrustError(NO_REINIT)
    former = {member.leaf_index: member for member in before}
    gone = {member.leaf_index for member in staged.removed}
    for member in staged.updated:
        if device_of(former[member.leaf_index]) != device_of(member):  # rule L16: a leaf never changes its device
            raise TrustError("a member replaced its leaf by another device's")
    judge_members(draft, [*staged.added, *staged.updated])
    check_kind(kind, [*(member for member in former.values() if member.leaf_index not in gone), *staged.added])


def check_kind(kind: ChatKind, members: Iterable[HasCredential]) -> None:
    """A private chat never holds a third account."""
    if kind == "private" and len(set(map(account_of, members))) > PRIVATE_CHAT_ACCOUNTS_MAX:
        raise TrustError("a third account was brought into a private chat")


def judge_claims(draft: Draft, account_id: bytes, claims: Iterable[ClaimedKeyPackage], suite_id: int) -> list[bytes]:
    """The key packages that the server gives for an account: one for each device of its list, each that device's own.

    Raises `TrustError` for anything else (rules K1, K8; a server cannot leave a device out or slip one in).
    """
    device_list = draft.device_list(account_id)
    if device_list is None:
        raise NeedAccounts(frozenset({account_id}))
    packages: dict[bytes, bytes] = {}
    for claim in claims:
        try:
            package = verify_key_package(claim.key_package, draft.now)
            device = verify_listed(certify_leaf(package.leaf.credential, package.leaf.signature_key), device_list)
        except CryptoError as error:
            raise TrustError(f"the server gave a key package that does not hold: {error}") from error
        if device.device_id != claim.device_id or package.suite.id != suite_id:
            raise TrustError("the server gave a key package of another device or cipher suite than asked for")
        packages[device.device_id] = claim.key_package
    if packages.keys() != set(device_list.device_ids):
        raise TrustError("the server did not give a key package for every device of the account")
    return list(packages.values())


def load_account(row: bytes) -> VerifiedDeviceList:
    """A device list from the store, verified again."""
    account = msgspec.msgpack.decode(row, type=Account)
    certificate = decode(SigningKeyCertificate, account.signing_key_certificate)
    return verify_device_list(decode(DeviceList, account.device_list), certificate, None)


@lru_cache(maxsize=16_384)
def _account_in(identity: bytes) -> bytes:
    return decode(DeviceChain, identity).device_certificate.account_id
