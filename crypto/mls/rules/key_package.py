"""Rules for key packages (RFC 9420 §10, §10.1).

K2 is section L (`rules.leaf`); K3 is `key_package.verify_key_package_signature`. K7 to K10 (whose package is it, and
was it used before?) are the application's.
"""

from __future__ import annotations

from collections.abc import Iterable

from crypto.errors import RuleViolation
from crypto.mls.extensions import ExtensionType, find_extension
from crypto.mls.key_package import KeyPackage
from crypto.suites import CipherSuite


def k1_suite(suite: CipherSuite, key_package: KeyPackage) -> None:
    """A key package is for the group's cipher suite, §10.1; there is one version only."""
    if key_package.cipher_suite != suite.id:
        raise RuleViolation("K1", "a key package is for another cipher suite than the group's")


def k4_init_key_differs(key_package: KeyPackage) -> None:
    """The init key is not the leaf's encryption key, §10.1."""
    if key_package.init_key == key_package.leaf_node.encryption_key:
        raise RuleViolation("K4", "a key package uses one key as init key and as encryption key")


def l6_key_package_extensions(key_package: KeyPackage) -> None:
    """The leaf of a key package lists every extension that the key package carries, §10.

    The default ones, which are not listed, have no place in a key package (rule L17).
    """
    listed = key_package.leaf_node.capabilities.extensions
    for extension in key_package.extensions:
        if extension.extension_type not in listed:
            raise RuleViolation("L6", "a key package carries an extension that its leaf does not list")


def c5_last_resort_mark(key_package: KeyPackage) -> None:
    """The mark of a last-resort key package holds nothing, §16.8 and the extensions draft."""
    if find_extension(key_package.extensions, ExtensionType.LAST_RESORT_KEY_PACKAGE) not in {None, b""}:
        raise RuleViolation("C5", "the mark of a last-resort key package holds something")


def k6_init_keys_unique(key_packages: Iterable[KeyPackage]) -> None:
    """No two key packages of a commit have one init key, §10."""
    init_keys = [key_package.init_key for key_package in key_packages]
    if len(set(init_keys)) != len(init_keys):
        raise RuleViolation("K6", "two key packages with one init key")
