"""Groups that follow from another: key packages for the new one, and how its members make it and come into it."""

from __future__ import annotations

from typing import Any

from crypto.mls.extensions import ExtensionType
from crypto.mls.group import (
    Group,
    KeyPackageBundle,
    PendingCommit,
    VerifiedKeyPackage,
    branch,
    generate_key_package,
    join,
    reinitialise,
    verify_key_package,
)
from crypto.mls.mls_message import encode_message
from crypto.suites import CipherSuite, SignatureKeyPair
from tests.crypto.forge import requiring
from tests.crypto.world import LIFETIME, NOW, World

NEW_ID = b"the group that follows"
NEW_EXTENSIONS = requiring(ExtensionType.LAST_RESORT_KEY_PACKAGE)


class Offers:
    """A fresh key package of each person for another group, and the keys that belong to it."""

    def __init__(self, world: World, belongs: CipherSuite, names: list[str]) -> None:
        self.bundles: dict[str, KeyPackageBundle] = {}
        self.signers: dict[str, SignatureKeyPair] = {}
        for name in names:
            someone = world.person(name)
            self.signers[name] = someone.signer if belongs is world.suite else belongs.signature.generate()
            self.bundles[name] = generate_key_package(
                belongs, someone.credential, self.signers[name], lifetime=LIFETIME
            )

    def verified(self, *but: str) -> list[VerifiedKeyPackage]:
        return [
            verify_key_package(encode_message(each.key_package), NOW)
            for name, each in self.bundles.items()
            if name not in but
        ]

    def accept(self, world: World, name: str, welcome: bytes | None, **options: Any) -> Group:
        assert welcome is not None
        bundle = self.bundles[name]
        options = {"previous": world.people[name].group} | options
        return join(welcome, {bundle.reference: bundle}, self.signers[name], now=NOW, **options).accept()


def continued(world: World, offers: Offers, adds: list[VerifiedKeyPackage], by: str) -> PendingCommit:
    """`by` makes the group to which its own was reinitialised."""
    someone = world.people[by]
    return reinitialise(someone.view, adds, someone.credential, offers.signers[by], lifetime=LIFETIME, now=NOW)


def branched(world: World, adds: list[VerifiedKeyPackage], by: str) -> PendingCommit:
    """`by` makes a group of itself and some others."""
    return branch(world[by], b"a branch", adds, lifetime=LIFETIME, now=NOW)
