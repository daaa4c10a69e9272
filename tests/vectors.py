"""Published test vectors, read where they lie.

The folder is the one that `SEALDESK_VECTORS` names, else `../shared/vectors` beside the checkout. Without either, tests
that need vectors skip and say so. Every key of a vector must be known here: a key that the loader does not know is
something that a test does not check, so it fails.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from crypto.suites import SUITES

Case = dict[str, Any]

WITHOUT_VECTORS = "no test vectors: set SEALDESK_VECTORS to their folder, or put them in ../shared/vectors"

_PASSIVE = {
    "cipher_suite": "", "external_psks": [{"psk_id": "", "psk": ""}], "key_package": "", "signature_priv": "",
    "encryption_priv": "", "init_priv": "", "welcome": "", "ratchet_tree": "", "initial_epoch_authenticator": "",
    "epochs": [{"proposals": [""], "commit": "", "epoch_authenticator": ""}],
}  # fmt: skip
_GROUP = {
    "type": "", "source": {"name": "", "version": ""}, "ivSize": "", "keySize": "", "tagSize": "", "curve": "",
    "encoding": "", "sha": "", "publicKeyDer": "", "publicKeyPem": "", "parameterSet": "",
    "publicKey": {"type": "", "curve": "", "keySize": "", "pk": "", "uncompressed": "", "wx": "", "wy": ""},
    "publicKeyJwk": {"kty": "", "crv": "", "kid": "", "x": "", "y": ""},
    "tests": [{"tcId": "", "comment": "", "flags": [""], "result": "", "key": "", "iv": "", "aad": "", "msg": "",
               "ct": "", "tag": "", "public": "", "private": "", "shared": "", "sig": "", "ikm": "", "salt": "",
               "info": "", "size": "", "okm": "", "m": "", "ek": "", "dk": "", "c": "", "K": "", "seed": ""}],
}  # fmt: skip
_WYCHEPROOF = {
    "algorithm": "", "schema": "", "numberOfTests": "", "header": [""], "notes": None, "testGroups": [_GROUP],
}  # fmt: skip

KNOWN_KEYS: dict[str, Any] = {
    "mls/crypto-basics.json": [{
        "cipher_suite": "",
        "ref_hash": {"label": "", "value": "", "out": ""},
        "expand_with_label": {"secret": "", "label": "", "context": "", "length": "", "out": ""},
        "derive_secret": {"secret": "", "label": "", "out": ""},
        "derive_tree_secret": {"secret": "", "label": "", "generation": "", "length": "", "out": ""},
        "sign_with_label": {"priv": "", "pub": "", "content": "", "label": "", "signature": ""},
        "encrypt_with_label": {"priv": "", "pub": "", "label": "", "context": "", "plaintext": "", "kem_output": "",
                               "ciphertext": ""},
    }],
    "mls/deserialization.json": [{"vlbytes_header": "", "length": ""}],
    "mls/key-schedule.json": [{
        "cipher_suite": "", "group_id": "", "initial_init_secret": "",
        "epochs": [{
            "tree_hash": "", "commit_secret": "", "psk_secret": "", "confirmed_transcript_hash": "",
            "group_context": "", "joiner_secret": "", "welcome_secret": "", "init_secret": "",
            "sender_data_secret": "", "encryption_secret": "", "exporter_secret": "", "epoch_authenticator": "",
            "external_secret": "", "external_pub": "", "confirmation_key": "", "membership_key": "",
            "resumption_psk": "", "exporter": {"label": "", "context": "", "length": "", "secret": ""},
        }],
    }],
    "mls/message-protection.json": [{
        "cipher_suite": "", "group_id": "", "epoch": "", "tree_hash": "", "confirmed_transcript_hash": "",
        "signature_priv": "", "signature_pub": "", "encryption_secret": "", "sender_data_secret": "",
        "membership_key": "", "proposal": "", "proposal_priv": "", "proposal_pub": "", "commit": "", "commit_priv": "",
        "commit_pub": "", "application": "", "application_priv": "",
    }],
    "mls/messages.json": [{
        "mls_welcome": "", "mls_group_info": "", "mls_key_package": "", "ratchet_tree": "", "group_secrets": "",
        "add_proposal": "", "update_proposal": "", "remove_proposal": "", "pre_shared_key_proposal": "",
        "re_init_proposal": "", "external_init_proposal": "", "group_context_extensions_proposal": "", "commit": "",
        "public_message_application": "", "public_message_proposal": "", "public_message_commit": "",
        "private_message": "",
    }],
    "mls/passive-client-handling-commit.json": [_PASSIVE],
    "mls/passive-client-random.json": [_PASSIVE],
    "mls/passive-client-welcome.json": [_PASSIVE],
    "mls/psk_secret.json": [{
        "cipher_suite": "", "psks": [{"psk_id": "", "psk": "", "psk_nonce": ""}], "psk_secret": "",
    }],
    "mls/secret-tree.json": [{
        "cipher_suite": "", "encryption_secret": "",
        "sender_data": {"sender_data_secret": "", "ciphertext": "", "key": "", "nonce": ""},
        "leaves": [[{"generation": "", "handshake_key": "", "handshake_nonce": "", "application_key": "",
                     "application_nonce": ""}]],
    }],
    "mls/transcript-hashes.json": [{
        "cipher_suite": "", "confirmation_key": "", "authenticated_content": "", "interim_transcript_hash_before": "",
        "confirmed_transcript_hash_after": "", "interim_transcript_hash_after": "",
    }],
    "mls/tree-math.json": [{
        "n_leaves": "", "n_nodes": "", "root": "", "left": [""], "right": [""], "parent": [""], "sibling": [""],
    }],
    "mls/tree-operations.json": [{
        "cipher_suite": "", "tree_before": "", "proposal": "", "proposal_sender": "", "tree_hash_before": "",
        "tree_after": "", "tree_hash_after": "",
    }],
    "mls/tree-validation.json": [{
        "cipher_suite": "", "tree": "", "group_id": "", "resolutions": [[""]], "tree_hashes": [""],
    }],
    "mls/treekem.json": [{
        "cipher_suite": "", "group_id": "", "epoch": "", "confirmed_transcript_hash": "", "ratchet_tree": "",
        "leaves_private": [{"index": "", "encryption_priv": "", "signature_priv": "",
                            "path_secrets": [{"node": "", "path_secret": ""}]}],
        "update_paths": [{"sender": "", "update_path": "", "path_secrets": [""], "commit_secret": "",
                          "tree_hash_after": ""}],
    }],
    "mls/welcome.json": [{"cipher_suite": "", "init_priv": "", "key_package": "", "signer_pub": "", "welcome": ""}],
}  # fmt: skip
"""The shape of each file: "" is a value, None anything at all. Files under wycheproof/ share one shape."""


def folder() -> Path | None:
    """Where the vectors lie, or None."""
    named = os.environ.get("SEALDESK_VECTORS")
    place = Path(named) if named else Path(__file__).parents[2] / "shared" / "vectors"
    return place if place.is_dir() else None


def cases(name: str) -> list[Case]:
    """All cases of a file such as "mls/treekem.json"; skips the calling test if there are no vectors."""
    if folder() is None:
        pytest.skip(WITHOUT_VECTORS, allow_module_level=True)
    found: list[Case] = _load(name)
    return found


def each(name: str) -> pytest.MarkDecorator:
    """Run a test for every case of a file, as its argument `case`. Cases of suites that we lack are skipped."""
    if folder() is None:
        return pytest.mark.parametrize("case", [pytest.param({}, marks=pytest.mark.skip(WITHOUT_VECTORS))])
    return pytest.mark.parametrize("case", [_parameter(name, number, case) for number, case in enumerate(_load(name))])


def wycheproof(name: str) -> list[tuple[Case, Case]]:
    """All tests of a file such as "ed25519_test.json", each with the group that it stands in."""
    if folder() is None:
        pytest.skip(WITHOUT_VECTORS, allow_module_level=True)
    loaded = _load(f"wycheproof/{name}")
    found = [(group, test) for group in loaded["testGroups"] for test in group["tests"]]
    assert len(found) == loaded["numberOfTests"]
    return found


def unknown_keys(value: Any, shape: Any, place: str = "") -> list[str]:
    """The paths of the keys in `value` that `shape` does not list."""
    if isinstance(value, dict) and isinstance(shape, dict):
        strange = [f"{place}.{key}" for key in value if key not in shape]
        return strange + [
            found for key in value if key in shape for found in unknown_keys(value[key], shape[key], f"{place}.{key}")
        ]
    if isinstance(value, list) and isinstance(shape, list):
        return [found for item in value for found in unknown_keys(item, shape[0], f"{place}[]")]
    matches = shape is None or (shape == "" and not isinstance(value, dict | list))
    return [] if matches else [f"{place} is not of the known shape"]


@functools.cache
def _load(name: str) -> Any:
    place = folder()
    assert place is not None
    loaded = json.loads((place / name).read_bytes())
    shape = _WYCHEPROOF if name.startswith("wycheproof/") else KNOWN_KEYS[name]
    strange = unknown_keys(loaded, shape)
    assert not strange, f"{name} holds keys that no test reads: {sorted(set(strange))}"
    return loaded


def _parameter(name: str, number: int, case: Case) -> Any:
    """One case, marked so that the audit kit can count it."""
    marks = [pytest.mark.vectors(name, number)]
    suite_id = case.get("cipher_suite")
    if suite_id is None:
        return pytest.param(case, id=f"case {number}", marks=marks)
    if suite_id not in SUITES:
        marks.append(pytest.mark.skip(f"cipher suite {suite_id} is not implemented"))
    return pytest.param(case, id=f"case {number}, suite {suite_id}", marks=marks)
