"""psk_secret: the official vectors, and what the order and each field mean."""

from __future__ import annotations

from crypto.mls.psk import ExternalPSK, PreSharedKeyID, ResumptionPSK, ResumptionPSKUsage, derive_psk_secret
from crypto.secret import Secret
from crypto.suites import SUITES, suite_of
from tests.crypto.matrix import without_group
from tests.vectors import Case, each

ONE = SUITES[1]


@each("mls/psk_secret.json")
def test_published_psk_secrets(case: Case) -> None:
    chosen = suite_of(case["cipher_suite"])
    psks = [
        (
            PreSharedKeyID(ExternalPSK(bytes.fromhex(psk["psk_id"])), bytes.fromhex(psk["psk_nonce"])),
            Secret(bytes.fromhex(psk["psk"])),
        )
        for psk in case["psks"]
    ]
    assert derive_psk_secret(chosen, psks).reveal().hex() == case["psk_secret"]


@without_group("the derivation of one secret")
def test_s2_without_psks_the_input_is_all_zero() -> None:
    for chosen in SUITES.values():
        assert derive_psk_secret(chosen, []) == Secret(bytes(chosen.hash_size))


@without_group("the derivation of one secret")
def test_s1_order_key_and_every_field_of_the_name_matter() -> None:
    resumption = PreSharedKeyID(ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"group", 3), bytes(32))
    external = PreSharedKeyID(ExternalPSK(b"name"), bytes(32))
    key = Secret(b"key")
    lists = [
        [(external, key), (resumption, key)],
        [(resumption, key), (external, key)],
        [(external, key)],
        [(external, key), (external, key)],
        [(external, Secret(b"kez"))],
        [(PreSharedKeyID(ExternalPSK(b"name"), b"\1" + bytes(31)), key)],
        [(PreSharedKeyID(ExternalPSK(b"namf"), bytes(32)), key)],
        [(resumption, key)],
        [(PreSharedKeyID(ResumptionPSK(ResumptionPSKUsage.BRANCH, b"group", 3), bytes(32)), key)],
        [(PreSharedKeyID(ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"grouq", 3), bytes(32)), key)],
        [(PreSharedKeyID(ResumptionPSK(ResumptionPSKUsage.APPLICATION, b"group", 4), bytes(32)), key)],
    ]
    assert len({derive_psk_secret(ONE, psks).reveal() for psks in lists}) == len(lists)
