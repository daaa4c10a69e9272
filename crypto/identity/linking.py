"""Linking: a second device of an account, in one round trip through a server that nobody trusts.

::

    new device                              server                        device of the account
    keys; code = mailbox, secret, check
    LinkOffer ───────────────────────────► mailbox ─────────────────────► read_link_offer
    shows code and QR ═══ person: types the code, or camera ════════════► secret; QR: hash of the offer
    short string ═════════ person: the same on both? (not with a QR) ═══► confirm_compared, confirm_scanned
                                                                          certifies the device, signs the next list
    open_link_package ◄─────────────────── mailbox ◄───────────────────── sealed LinkPackage
    shows whose device it now is ═══ person: yes

What holds, with a server that reads, swaps, delays and invents:

- *A device is certified only if its owner has confirmed it.* The QR code gives the hash of the offer. Without a camera,
  short string = Argon2id(the code's secret; salt = hash of the offer), and the server, which must choose the offer that
  it hands out, does not know the secret: nothing that passes it depends on it. So there is nothing to search for, and a
  swapped offer shows the same string once in 2^40 times. Argon2id is for him who also sees the screen.
- *A package opens only for its offer*, and was made by someone who was given the code: it is sealed to the offer's key
  with the offer's hash as context (HPKE, X-Wing), and inside is a proof, more output of the same Argon2id. A stranger
  or server has one guess in 2^25: the client ends the offer with the first package that does not hold.
- *What is inside fits together*: `open_link_package` checks root, signing key, device certificate and list against each
  other and against the offer that this very device made.
- *Nobody gives a phone to his own account unseen*: who has read the code off the screen can answer first. So the new
  device shows `VerifiedLink.account_id` and its name, and keeps nothing before the person has said yes.

A pending link lives for ten minutes in memory and is never stored; with it goes the key that opens the package.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Annotated

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from crypto.errors import DecodeError, IdentityError, UsageError
from crypto.identity.accounts import (
    DeviceCertificate,
    SigningKeyCertificate,
    certify_device,
    device_id_of,
    verify_device,
    verify_signing_key,
)
from crypto.identity.device_list import (
    DeviceList,
    VerifiedDeviceList,
    sign_next_device_list,
    verify_device_list,
    verify_listed,
)
from crypto.identity.link_codes import (
    LINK_VERSION,
    MAILBOX_SIZE,
    LinkCode,
    LinkScan,
    check_link_version,
    check_server,
    format_link_scan,
    format_short_string,
    generate_link_code,
    normalise_typed,
)
from crypto.identity.signing import PublicKey, Signature, SignedLabel, sign_object, verify_object
from crypto.kem import HPKEKeyPair
from crypto.mls.padding import padded_size
from crypto.secret import Secret
from crypto.suites import (
    X_WING,
    HPKECiphertext,
    SignatureKeyPair,
    derive_ed25519_key_pair,
    encode_sign_content,
    generate_ed25519_key_pair,
)
from crypto.wire import Fixed, Uint8, Uint64, decode, encode, struct

OFFER_LIFETIME_S = 600
"""How long an offer is good for, in seconds, on each of the two clocks."""

LINK_OFFER_BYTES_MAX = 2_048
"""No offer is longer, encoded: two keys, a signature and a URL."""

LINK_PACKAGE_BYTES_MAX = 4 * 1024 * 1024
"""No sealed package is longer: certificates, and what the caller puts in of profile and contacts."""

ARGON2ID_ITERATIONS = 8
ARGON2ID_LANES = 4
ARGON2ID_MEMORY_KIB = 64 * 1024

_ARGON2ID_LABEL = b"Sealdesk 1.0 LinkCode"
_PACKAGE_LABEL = "Sealdesk 1.0 LinkPackage"
_HASH_SIZE = 32
_SHORT_STRING_SIZE = 5
_PROOF_SIZE = 32
_KEY_SIZE = 32


@struct
class LinkOffer:
    """A device asks to be linked: its key, and the HPKE key (X-Wing) for the answer. Signed by `device_key`.

    The keys are fresh for each offer, so no two are alike. `server_url` is the server's public URL, `mailbox` four
    characters of ASCII; `made_at` is Unix seconds by the new device's clock.
    """

    version: Uint8
    server_url: bytes
    mailbox: Annotated[bytes, Fixed(MAILBOX_SIZE)]
    device_key: PublicKey
    hpke_key: Annotated[bytes, Fixed(X_WING.hpke.kem.public_key_size)]
    made_at: Uint64
    signature: Signature


@struct
class HistoryArchive:
    """The history, one stream of `crypto.attachments` uploaded before. `location` is the caller's."""

    location: bytes
    key: Secret
    content_hash: Annotated[bytes, Fixed(_HASH_SIZE)]
    plaintext_size: Uint64


@struct
class LinkPackage:
    """All that makes a device one of the account; sealed, never in the clear. `padding` hides how many contacts."""

    proof: Secret
    signing_seed: Secret
    signing_key_certificate: SigningKeyCertificate
    device_certificate: DeviceCertificate
    device_list: DeviceList
    profile_keys: Secret
    contacts: Secret
    history: HistoryArchive | None
    padding: bytes


@dataclass(frozen=True, slots=True)
class Pairing:
    """What both devices compute from offer and code. `short_string` is for eyes, `proof` goes into the package."""

    offer_hash: bytes
    short_string: str = field(repr=False)
    proof: Secret


@dataclass(frozen=True, slots=True)
class PendingLink:
    """The new device between offer and package. `account_id` is None, or the one account that may answer."""

    offer: LinkOffer
    device_key: SignatureKeyPair
    hpke_key: HPKEKeyPair
    code: LinkCode
    pairing: Pairing
    account_id: bytes | None

    @property
    def qr_text(self) -> str:
        """What the QR code holds."""
        return format_link_scan(self.offer.server_url.decode(), self.code, self.pairing.offer_hash)


@dataclass(frozen=True, slots=True)
class FetchedOffer:
    """An offer as the server gave it out: well-formed and in time, and whose it is nobody knows yet."""

    offer: LinkOffer
    pairing: Pairing


@dataclass(frozen=True, slots=True)
class ConfirmedOffer:
    """The offer of the device in the person's other hand. Made by `confirm_scanned` and `confirm_compared` only."""

    offer: LinkOffer
    pairing: Pairing


@dataclass(frozen=True, slots=True)
class LinkContents:
    """What the caller gives the new device along, in its own encoding."""

    profile_keys: Secret
    contacts: Secret
    history: HistoryArchive | None = None


@dataclass(frozen=True, slots=True)
class CertifiedLink:
    """What the device of the account has made: for the server the first two, at once; then for the mailbox."""

    device_certificate: DeviceCertificate
    device_list: VerifiedDeviceList
    sealed_package: bytes


@dataclass(frozen=True, slots=True)
class VerifiedLink:
    """The new device's place in its account, all of it checked. Made by `open_link_package` only."""

    signing_key: SignatureKeyPair
    device_key: SignatureKeyPair
    device_certificate: DeviceCertificate
    device_list: VerifiedDeviceList
    contents: LinkContents

    @property
    def account_id(self) -> bytes:
        """Show it to the person, with the name, before anything is kept: 20 bytes."""
        return self.device_list.account_id

    @property
    def root_key(self) -> bytes:
        """What the account's safety numbers are made of, 32 bytes."""
        return self.device_list.signing_key.root_key


def generate_link_offer(
    server_url: str, now: int, device_key: SignatureKeyPair | None = None, account_id: bytes | None = None
) -> PendingLink:
    """New device: keys, code and offer. Post `encode(pending.offer)` to the mailbox, show code, QR and short string.

    A device that is linked already and lacks the newest signing key gives its `device_key` and `account_id`: it stays
    the device that it is, and no other account can answer.
    """
    keys = device_key or generate_ed25519_key_pair()
    return derive_link_offer(server_url, now, generate_link_code(), keys, X_WING.generate_hpke_key_pair(), account_id)


def derive_link_offer(
    server_url: str,
    now: int,
    code: LinkCode,
    device_key: SignatureKeyPair,
    hpke_key: HPKEKeyPair,
    account_id: bytes | None = None,
) -> PendingLink:
    """The offer with these keys and this code. Takes as long as one Argon2id, as does `read_link_offer`."""
    mailbox = code.mailbox.encode()
    unsigned = LinkOffer(
        LINK_VERSION, server_url.encode(), mailbox, device_key.public, hpke_key.public, now, signature=b""
    )
    offer = sign_object(device_key, SignedLabel.LINK_OFFER, unsigned)
    return PendingLink(offer, device_key, hpke_key, code, _pair(offer, code.secret), account_id)


def read_link_offer(encoded: bytes, code: LinkCode, server_url: str, now: int) -> FetchedOffer:
    """Device of the account: what the server handed out for this code. It proves nothing yet but its own signature.

    `server_url` is the account's. Raises `DecodeError`, `Unsupported`, `AuthenticationError`, or `IdentityError` for
    an offer of another mailbox or server, or out of its time.
    """
    if len(encoded) > LINK_OFFER_BYTES_MAX:
        raise DecodeError(f"a link offer is at most {LINK_OFFER_BYTES_MAX} bytes")
    check_link_version(encoded)
    offer = decode(LinkOffer, encoded)
    verify_object(offer.device_key, SignedLabel.LINK_OFFER, offer)
    X_WING.hpke.check_public_key(offer.hpke_key)
    if offer.mailbox != code.mailbox.encode():
        raise IdentityError("the server gave the offer of another code")
    check_server(offer.server_url, server_url)
    _check_in_time(offer, now)
    return FetchedOffer(offer, _pair(offer, code.secret))


def confirm_scanned(fetched: FetchedOffer, scan: LinkScan) -> ConfirmedOffer:
    """The offer is the one whose hash the camera read. Raises `IdentityError` if it is not."""
    if fetched.pairing.offer_hash != scan.offer_hash:
        raise IdentityError("the server gave another offer than the new device shows: link nothing, tell its operator")
    return ConfirmedOffer(fetched.offer, fetched.pairing)


def confirm_compared(fetched: FetchedOffer, read: str) -> ConfirmedOffer:
    """The person has read the short string on the new device, and it is ours.

    `read` is what she typed; a client that shows ours and asks "the same?" gives `fetched.pairing.short_string` back
    for a yes, and does not call this for a no. Raises `IdentityError`.
    """
    if normalise_typed(read) != normalise_typed(fetched.pairing.short_string):
        raise IdentityError("the two devices show different strings: link nothing, and try again with a new code")
    return ConfirmedOffer(fetched.offer, fetched.pairing)


def certify_link(
    confirmed: ConfirmedOffer,
    signing_key: SignatureKeyPair,
    previous: VerifiedDeviceList,
    contents: LinkContents,
    now: int,
) -> CertifiedLink:
    """Device of the account: certify the new device, list it, and seal what it needs.

    `previous` is the newest list. Publish certificate and list first: a package without them makes a device that
    nobody lets in; the other way round a device is listed that never came, and is taken off again. Raises
    `IdentityError` if the offer is out of its time, `signing_key` is no longer the account's, or the list is full.
    """
    _check_in_time(confirmed.offer, now)
    if signing_key.public != previous.signing_key.signing_key:
        raise IdentityError("the account has a newer signing key than this device: link this device again first")
    certificate = certify_device(signing_key, previous.certificate, confirmed.offer.device_key, now)
    device_ids = frozenset({*previous.device_ids, device_id_of(confirmed.offer.device_key)})
    device_list = sign_next_device_list(signing_key, previous, device_ids, now)
    package = LinkPackage(
        confirmed.pairing.proof,
        signing_key.private,
        previous.certificate,
        certificate,
        device_list.device_list,
        contents.profile_keys,
        contents.contacts,
        contents.history,
        padding=b"",
    )
    return CertifiedLink(certificate, device_list, seal_link_package(confirmed, package))


def seal_link_package(confirmed: ConfirmedOffer, package: LinkPackage) -> bytes:
    """Seal a package to the confirmed offer: an encoded `HPKECiphertext`. Raises `UsageError` if it is too large."""
    size = len(encode(package))
    padded = dataclasses.replace(package, padding=bytes(padded_size(size) - size))
    info = _package_info(confirmed.pairing)
    (sealed,) = X_WING.hpke.seal_each(info, [(confirmed.offer.hpke_key, encode(padded))])
    encoded = encode(HPKECiphertext(*sealed))
    if len(encoded) > LINK_PACKAGE_BYTES_MAX:
        raise UsageError("contacts and profile are too large for a link package")
    return encoded


def open_link_package(pending: PendingLink, sealed: bytes, now: int) -> VerifiedLink:
    """New device: open the package for this offer and check all that it says. Ask the person before keeping it.

    Raises `DecodeError`, `AuthenticationError`, or `IdentityError` for what does not fit together. After any of them
    this offer has ended: another package would be another guess of the code.
    """
    if len(sealed) > LINK_PACKAGE_BYTES_MAX:
        raise DecodeError(f"a link package is at most {LINK_PACKAGE_BYTES_MAX} bytes")
    _check_in_time(pending.offer, now)
    box = decode(HPKECiphertext, sealed)
    opened = X_WING.hpke.open(pending.hpke_key, _package_info(pending.pairing), box.kem_output, box.ciphertext)
    package = decode(LinkPackage, opened)
    if package.proof != pending.pairing.proof:
        raise IdentityError("the package was made by somebody who was not given this device's code: link nothing")
    return _verify_package(pending, package)


def _verify_package(pending: PendingLink, package: LinkPackage) -> VerifiedLink:
    keys = [package.signing_seed] if package.history is None else [package.signing_seed, package.history.key]
    if any(len(key) != _KEY_SIZE for key in keys):
        raise DecodeError(f"keys in a link package are {_KEY_SIZE} bytes")
    signing_key = derive_ed25519_key_pair(package.signing_seed)
    certified = verify_signing_key(package.signing_key_certificate)
    if pending.account_id not in (None, certified.account_id):
        raise IdentityError("the package is of another account than this device's")
    if signing_key.public != certified.signing_key:
        raise IdentityError("the package holds another signing key than its certificate")
    device = verify_device(certified, package.device_certificate)
    if device.device_key != pending.device_key.public:
        raise IdentityError("the package is about another device than this one")
    device_list = verify_device_list(package.device_list, package.signing_key_certificate, previous=None)
    verify_listed(device, device_list)
    contents = LinkContents(package.profile_keys, package.contacts, package.history)
    return VerifiedLink(signing_key, pending.device_key, package.device_certificate, device_list, contents)


def _check_in_time(offer: LinkOffer, now: int) -> None:
    """Both ways, because the offer carries the other device's clock."""
    if abs(now - offer.made_at) > OFFER_LIFETIME_S:
        raise IdentityError(
            f"the offer was not made in the last {OFFER_LIFETIME_S // 60} minutes: make a new one on the new device, "
            "and if that does not help, set the clocks of both"
        )


def _pair(offer: LinkOffer, secret: Secret) -> Pairing:
    """Argon2id (RFC 9106) of the code's secret, salted with the hash of the whole offer."""
    offer_hash = hashlib.sha256(encode_sign_content(SignedLabel.LINK_OFFER, encode(offer))).digest()
    argon2id = Argon2id(
        salt=offer_hash,
        length=_SHORT_STRING_SIZE + _PROOF_SIZE,
        iterations=ARGON2ID_ITERATIONS,
        lanes=ARGON2ID_LANES,
        memory_cost=ARGON2ID_MEMORY_KIB,
        ad=_ARGON2ID_LABEL,
    )
    output = argon2id.derive(secret.reveal())
    short_string = format_short_string(output[:_SHORT_STRING_SIZE])
    return Pairing(offer_hash, short_string, Secret(output[_SHORT_STRING_SIZE:]))


def _package_info(pairing: Pairing) -> bytes:
    return encode_sign_content(_PACKAGE_LABEL, pairing.offer_hash)
