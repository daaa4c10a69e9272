"""Targets for what lies beside MLS: identities, what a server may check, and attachments."""

from __future__ import annotations

import contextlib
from typing import Annotated

from crypto import public
from crypto.attachments import (
    CHUNK_SIZE,
    TAG_SIZE,
    AttachmentOpener,
    AttachmentSealer,
    chunk_count,
    chunk_range,
    ciphertext_size,
    open_chunk,
    plaintext_size,
)
from crypto.errors import AuthenticationError, DecodeError, IdentityError, InvalidMessage
from crypto.identity import accounts, device_list
from crypto.identity.accounts import DeviceCertificate, DeviceChain, SigningKeyCertificate
from crypto.identity.device_list import DeviceList, VerifiedDeviceList
from crypto.identity.sessions import answer_challenge
from crypto.identity.signing import SignedLabel, sign_object
from crypto.mls.credentials import BasicCredential, Credential
from crypto.mls.group import generate_key_package
from crypto.mls.key_package import KeyPackage
from crypto.mls.mls_message import MLSMessage, encode_message
from crypto.secret import Secret
from crypto.suites import SUITES, X_WING, CipherSuite
from crypto.wire import Fixed, Uint8, Uint32, Uint64, decode_as, encode, struct
from tests.crypto.world import LIFETIME, NOW
from tests.fuzzing.decoders import sample_messages
from tests.fuzzing.target import Target, Way, decoded
from tests.fuzzing.values import signed_anew
from tests.fuzzing.world import world

REFUSALS = (DecodeError, AuthenticationError, IdentityError)
SERVER_REFUSALS = (InvalidMessage, IdentityError)

SERVER_URL = "https://chat.example"


# Identities


@struct
class ListWithCertificate:
    """What a server answers when it is asked for an account's devices."""

    certificate: SigningKeyCertificate
    device_list: DeviceList


@struct
class Leaf:
    """What a leaf says of whose it is."""

    credential: Credential
    signature_key: bytes


def chain_signed_anew(chain: DeviceChain) -> DeviceChain:
    """The chain with signatures of the account's real keys."""
    w = world().account
    return DeviceChain(
        sign_object(w.root, SignedLabel.SIGNING_KEY_CERTIFICATE, chain.signing_key_certificate),
        sign_object(w.signing, SignedLabel.DEVICE_CERTIFICATE, chain.device_certificate),
    )


def _known_list() -> VerifiedDeviceList:
    w = world().account
    return device_list.verify_device_list(w.device_list, w.chain.signing_key_certificate, previous=None)


def _verify_chain(data: bytes) -> None:
    decoded(DeviceChain, data)
    _is_of_the_account(accounts.verify_chain(data))


def _verify_chain_signed_anew(data: bytes) -> None:
    _is_of_the_account(accounts.verify_chain(encode(chain_signed_anew(decoded(DeviceChain, data)))))


def _is_of_the_account(device: accounts.CertifiedDevice) -> None:
    """Only the root of the account makes devices of the account."""
    text = accounts.format_account_id(device.account_id)
    assert accounts.parse_account_id(text) == device.account_id == accounts.account_id_of(device.root_key)
    with contextlib.suppress(IdentityError):
        assert device_list.verify_listed(device, _known_list()).device_id in world().account.device_list.device_ids


def _verify_device_list(data: bytes) -> None:
    _succeeds(decoded(ListWithCertificate, data))


def _verify_device_list_signed_anew(data: bytes) -> None:
    given, w = decoded(ListWithCertificate, data), world().account
    certificate = sign_object(w.root, SignedLabel.SIGNING_KEY_CERTIFICATE, given.certificate)
    _succeeds(ListWithCertificate(certificate, sign_object(w.signing, SignedLabel.DEVICE_LIST, given.device_list)))


def _succeeds(given: ListWithCertificate) -> None:
    """What follows the known list never goes back."""
    known = _known_list()
    verified = device_list.verify_device_list(given.device_list, given.certificate, previous=known)
    assert (verified.signing_key.version, verified.version) >= (known.signing_key.version, known.version)


def _authenticate_leaf(data: bytes) -> None:
    leaf = decoded(Leaf, data)
    device = device_list.authenticate_leaf(leaf.credential, leaf.signature_key, _known_list())
    assert device.device_key == leaf.signature_key == world().account.device.public


def _parse_text(data: bytes) -> None:
    """What people type: an account id, or their recovery phrase."""
    text = data.decode("utf-8", "replace")
    if len(text) == 32:
        assert accounts.format_account_id(accounts.parse_account_id(text)) == text
    else:
        accounts.derive_root_key(text)


def _account_list() -> list[bytes]:
    w = world().account
    return [encode(ListWithCertificate(w.chain.signing_key_certificate, w.device_list))]


def _chain() -> list[bytes]:
    return [encode(world().account.chain)]


def _texts() -> list[bytes]:
    account_id = accounts.account_id_of(world().account.root.public)
    phrase = accounts.derive_recovery_phrase(Secret(bytes(range(32))))
    return [accounts.format_account_id(account_id).encode(), phrase.encode()]


IDENTITY = Target(
    "identity",
    (
        Way("chain as it is", _verify_chain, REFUSALS, _chain, DeviceChain),
        Way("chain signed anew", _verify_chain_signed_anew, REFUSALS, _chain, DeviceChain),
        Way("list as it is", _verify_device_list, REFUSALS, _account_list, ListWithCertificate),
        Way("list signed anew", _verify_device_list_signed_anew, REFUSALS, _account_list, ListWithCertificate),
        Way(
            "leaf",
            _authenticate_leaf,
            REFUSALS,
            lambda: [encode(Leaf(BasicCredential(encode(world().account.chain)), world().account.device.public))],
            Leaf,
        ),
        Way("text", _parse_text, (IdentityError,), _texts),
    ),
)


# What a server may check


@struct
class AccountUpload:
    """What a client puts on the server for its account."""

    signing_key_certificate: bytes
    device_certificates: tuple[bytes, ...]
    device_list: bytes


@struct
class DecodedUpload:
    """The same upload with its parts decoded."""

    signing_key_certificate: SigningKeyCertificate
    device_certificates: tuple[DeviceCertificate, ...]
    device_list: DeviceList


@struct
class Answer:
    """An answer to a server's challenge."""

    device_key: bytes
    challenge: bytes
    signature: bytes


def _parse(data: bytes) -> None:
    """A message has a header or is a Welcome, and neither says more than stands in it."""
    header = welcome = None
    with contextlib.suppress(DecodeError):
        header = public.parse_message_header(data)
    with contextlib.suppress(DecodeError):
        welcome = public.parse_welcome(data)
    assert header is None or welcome is None
    if header is not None:
        assert header.group_id in data
    if welcome is not None:
        assert all(reference in data for reference in welcome.key_package_refs)


def _verify_account(data: bytes) -> None:
    upload = decode_as(AccountUpload, data)
    verified = public.verify_account(upload.signing_key_certificate, upload.device_certificates, upload.device_list)
    assert verified.account_id == public.account_id_of(verified.root_key)
    for certificate in upload.device_certificates:
        assert encode(public.parse_device_certificate(certificate)) == certificate


def _verify_account_signed_anew(data: bytes) -> None:
    """Structure of the upload's parts, and signatures that hold."""
    upload, w = decoded(DecodedUpload, data), world().account
    _verify_account(
        encode(
            AccountUpload(
                encode(sign_object(w.root, SignedLabel.SIGNING_KEY_CERTIFICATE, upload.signing_key_certificate)),
                tuple(
                    encode(sign_object(w.signing, SignedLabel.DEVICE_CERTIFICATE, certificate))
                    for certificate in upload.device_certificates
                ),
                encode(sign_object(w.signing, SignedLabel.DEVICE_LIST, upload.device_list)),
            )
        )
    )


def _verify_key_package(data: bytes) -> None:
    header = public.verify_key_package(data, world().account.chain.device_certificate, NOW)
    assert header.cipher_suite in public.CHAT_SUITES
    assert header.not_after >= NOW - 3600


def _verify_key_package_signed_anew(data: bytes) -> None:
    _verify_key_package(encode_message(signed_anew(decoded(KeyPackage, data), world().keyring)))


def _verify_answer(data: bytes) -> None:
    answer = decode_as(Answer, data)
    public.verify_session_answer(answer.device_key, SERVER_URL, answer.challenge, answer.signature)


def _uploads() -> list[bytes]:
    w = world().account
    certificates = (encode(w.chain.device_certificate),)
    return [encode(AccountUpload(encode(w.chain.signing_key_certificate), certificates, encode(w.device_list)))]


def _decoded_uploads() -> list[bytes]:
    w = world().account
    return [encode(DecodedUpload(w.chain.signing_key_certificate, (w.chain.device_certificate,), w.device_list))]


def _key_package(suite: CipherSuite) -> KeyPackage:
    w = world().account
    credential = BasicCredential(encode(w.chain))
    return generate_key_package(suite, credential, w.device, lifetime=LIFETIME, last_resort=True).key_package


def _answers() -> list[bytes]:
    device, challenge = world().account.device, bytes(range(32))
    return [encode(Answer(device.public, challenge, answer_challenge(device, SERVER_URL, challenge)))]


SERVER = Target(
    "server",
    (
        Way("message", _parse, SERVER_REFUSALS, sample_messages, MLSMessage),
        Way("account as it is", _verify_account, SERVER_REFUSALS, _uploads, AccountUpload),
        Way("account signed anew", _verify_account_signed_anew, SERVER_REFUSALS, _decoded_uploads, DecodedUpload),
        Way(
            "key package as it is",
            _verify_key_package,
            SERVER_REFUSALS,
            lambda: [encode_message(_key_package(SUITES[1]))],
            MLSMessage,
        ),
        Way(
            "key package signed anew",
            _verify_key_package_signed_anew,
            SERVER_REFUSALS,
            lambda: [encode(_key_package(suite)) for suite in (SUITES[1], SUITES[3], X_WING)],
            KeyPackage,
        ),
        Way("session answer", _verify_answer, SERVER_REFUSALS, _answers, Answer),
    ),
)


# Attachments


@struct
class Piece:
    """A piece of ciphertext and what is said of it."""

    key: Secret
    content_hash: bytes
    position: Uint32
    last: Uint8
    chunk: bytes


@struct
class Plain:
    """A file to seal: `block` again and again."""

    key: Annotated[bytes, Fixed(32)]
    size: Uint32
    block: bytes


@struct
class Size:
    """What a server says of a file."""

    ciphertext_bytes: Uint64


PLAIN_BYTES_MAX = 3 * CHUNK_SIZE
KEY = Secret(bytes(range(32)))


def _open(data: bytes) -> None:
    """Both ways to open agree, and what opens is of the size that the arithmetic gives."""
    piece = decode_as(Piece, data)
    opener = AttachmentOpener(piece.key, piece.content_hash)
    chunk = open_chunk(piece.key, piece.position, piece.chunk, piece.last == 1)
    assert len(chunk) == len(piece.chunk) - TAG_SIZE
    if piece.position == 0:
        assert opener.open(piece.chunk, last=piece.last == 1) == chunk


def _seal(data: bytes) -> None:
    """What was sealed opens, chunk by chunk and each by itself."""
    plain = decode_as(Plain, data)
    size = plain.size % PLAIN_BYTES_MAX if plain.block else 0
    content = (plain.block * (size // max(1, len(plain.block)) + 1))[:size]
    key, count = Secret(plain.key), chunk_count(size)
    pieces = [content[start : start + CHUNK_SIZE] for start in range(0, max(1, size), CHUNK_SIZE)]
    assert len(pieces) == count
    sealer = AttachmentSealer(key)
    sealed = [sealer.seal(piece, last=number == count - 1) for number, piece in enumerate(pieces)]
    ciphertext = b"".join(sealed)
    assert len(ciphertext) == ciphertext_size(size)
    assert plaintext_size(len(ciphertext)) == size
    opener = AttachmentOpener(key, sealer.content_hash)
    for number, piece in enumerate(pieces):
        place, last = chunk_range(size, number), number == count - 1
        assert open_chunk(key, number, ciphertext[place.start : place.stop], last) == piece
        assert opener.open(sealed[number], last=last) == piece
    opener.finish()


def _sizes(data: bytes) -> None:
    """Sizes follow from each other, and the places of the chunks fill the ciphertext."""
    size = decode_as(Size, data).ciphertext_bytes
    plain = plaintext_size(size)
    assert ciphertext_size(plain) == size
    last = chunk_count(plain) - 1
    assert chunk_range(plain, last).stop == size
    assert last == 0 or chunk_range(plain, last - 1).stop == chunk_range(plain, last).start


def _pieces() -> list[bytes]:
    sealer = AttachmentSealer(KEY)
    sealed = sealer.seal(b"the whole file", last=True)
    return [encode(Piece(KEY, sealer.content_hash, 0, 1, sealed))]


ATTACHMENT = Target(
    "attachment",
    (
        Way("open", _open, (DecodeError, AuthenticationError), _pieces, Piece),
        Way("seal", _seal, (DecodeError,), lambda: [encode(Plain(bytes(32), CHUNK_SIZE + 1, b"block"))], Plain),
        Way("sizes", _sizes, (DecodeError,), lambda: [encode(Size(ciphertext_size(2 * CHUNK_SIZE + 1)))], Size),
    ),
)
