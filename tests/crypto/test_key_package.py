"""Key packages: made, checked, named, stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crypto.errors import DecodeError, InvalidMessage, Unsupported
from crypto.kem import HPKEKeyPair
from crypto.mls.credentials import BasicCredential
from crypto.mls.extensions import Extension
from crypto.mls.group import generate_key_package, verify_key_package
from crypto.mls.mls_message import encode_message
from crypto.mls.snapshot import decode_bundle, encode_bundle
from crypto.suites import SUITES as ALL_SUITES
from crypto.suites import CipherSuite, suite_of
from tests.crypto.forge import capable, changed_key_package
from tests.crypto.world import LIFETIME, NOW, person, world_of

every_suite = pytest.mark.parametrize("belongs", ALL_SUITES.values(), ids=lambda each: f"suite {each.id:#06x}")


@every_suite
@pytest.mark.parametrize("last_resort", [False, True])
def test_what_we_make_passes_our_checks(belongs: CipherSuite, last_resort: bool) -> None:
    signer = belongs.signature.generate()
    bundle = generate_key_package(
        belongs, BasicCredential(b"someone"), signer, lifetime=LIFETIME, last_resort=last_resort
    )
    verified = verify_key_package(encode_message(bundle.key_package), NOW)
    assert verified.reference == bundle.reference
    assert verified.last_resort is last_resort
    assert verified.leaf.credential == BasicCredential(b"someone")
    assert verified.suite is belongs
    for private, public in (
        (bundle.init_private, bundle.key_package.init_key),
        (bundle.encryption_private, bundle.key_package.leaf_node.encryption_key),
    ):
        sealed = belongs.encrypt_with_label(public, "Test", b"", b"text")
        assert belongs.decrypt_with_label(HPKEKeyPair(private, public), "Test", b"", sealed).reveal() == b"text"


@every_suite
def test_bundles_come_back_from_the_store(belongs: CipherSuite) -> None:
    bundle = generate_key_package(belongs, BasicCredential(b"someone"), belongs.signature.generate(), lifetime=LIFETIME)
    stored = encode_bundle(bundle)
    again = decode_bundle(stored)
    assert (again.key_package, again.init_private, again.encryption_private) == (
        bundle.key_package, bundle.init_private, bundle.encryption_private
    )  # fmt: skip
    for damaged in (b"", b"\0" + stored[1:], stored[:-1], stored + b"\0", stored[:3] + b"\xee\xee" + stored[5:]):
        with pytest.raises(DecodeError):
            decode_bundle(damaged)


def test_no_two_are_alike() -> None:
    someone = person("someone", suite_of(1))
    one, other = someone.offer(), someone.offer()
    assert one.reference != other.reference
    assert one.key_package.init_key != other.key_package.init_key
    assert one.leaf.encryption_key != other.leaf.encryption_key


def test_every_flipped_bit_is_noticed() -> None:
    message = person("someone", suite_of(1)).offer_bytes()
    for position in range(8 * len(message)):
        forged = bytearray(message)
        forged[position // 8] ^= 1 << position % 8
        with pytest.raises((InvalidMessage, Unsupported)):
            verify_key_package(bytes(forged), NOW)


def test_a_suite_that_we_lack() -> None:
    someone = person("someone", suite_of(1))
    message = bytearray(someone.offer_bytes())
    message[6:8] = (8).to_bytes(2, "big")
    with pytest.raises(Unsupported):
        verify_key_package(bytes(message), NOW)


def test_what_is_no_key_package() -> None:
    _, message = world_of(suite_of(1), 2)["person 0"].protect(b"hello")
    with pytest.raises(DecodeError):
        verify_key_package(message, NOW)


def test_unknown_extensions_are_carried() -> None:
    """Rules C11 and W13."""
    someone = person("someone", suite_of(1))
    someone.offer()
    assert someone.bundle is not None
    unknown = Extension(0x5A5A, b"anything")

    bundle = changed_key_package(
        someone,
        someone.bundle,
        leaf=capable(unknown.extension_type),
        package=lambda package: replace(package, extensions=(unknown,)),
    )
    assert verify_key_package(encode_message(bundle.key_package), NOW).key_package.extensions == (unknown,)
