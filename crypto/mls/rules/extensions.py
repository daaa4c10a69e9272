"""Rules for lists of extensions (RFC 9420 §13, §17.3), and for what such a list asks of clients (§11.1).

They need no tree: what a struct holds is judged before there is one.
"""

from __future__ import annotations

from crypto.errors import RuleViolation
from crypto.mls.extensions import (
    DEFAULT_EXTENSION_TYPES,
    DEFAULT_PROPOSAL_TYPES,
    Extension,
    ExtensionType,
    RequiredCapabilities,
    external_senders,
    find_extension,
)
from crypto.mls.tree_nodes import Capabilities
from crypto.wire import decode


def check_group_context_extensions(extensions: tuple[Extension, ...]) -> None:
    """Judge a list of GroupContext extensions by itself (§12.1.7, §13.4), the ones that we understand by content."""
    l17_group_context_extensions(extensions)
    l18_extension_types_unique(extensions)
    required_capabilities(extensions)
    external_senders(extensions)


def require_support(rule: str, capabilities: Capabilities, extensions: tuple[Extension, ...]) -> None:
    """Raise `RuleViolation` under `rule` unless these capabilities are enough for these GroupContext extensions.

    §11.1, §13.4. Every extension that is there must be listed, and every type that is required. Values for GREASE are
    types like any other (§13.5).
    """
    if not extensions:
        return
    required = required_capabilities(extensions)
    in_use = [extension.extension_type for extension in extensions]
    for kind, wanted, supported in (
        ("extension", (*in_use, *required.extension_types), DEFAULT_EXTENSION_TYPES.union(capabilities.extensions)),
        ("proposal", required.proposal_types, DEFAULT_PROPOSAL_TYPES.union(capabilities.proposals)),
        ("credential", required.credential_types, frozenset(capabilities.credentials)),
    ):
        if not supported.issuperset(wanted):
            raise RuleViolation(rule, f"required {kind} types are not supported")


def required_capabilities(extensions: tuple[Extension, ...]) -> RequiredCapabilities:
    """What a GroupContext requires (§11.1). Raises `DecodeError`."""
    data = find_extension(extensions, ExtensionType.REQUIRED_CAPABILITIES)
    return RequiredCapabilities((), (), ()) if data is None else decode(RequiredCapabilities, data)


_NOT_IN_LEAF = frozenset(ExtensionType) - {ExtensionType.APPLICATION_ID}
_NOT_IN_KEY_PACKAGE = frozenset(ExtensionType) - {ExtensionType.LAST_RESORT_KEY_PACKAGE}
_NOT_IN_GROUP_CONTEXT = frozenset(ExtensionType) - {
    ExtensionType.REQUIRED_CAPABILITIES,
    ExtensionType.EXTERNAL_SENDERS,
}
_NOT_IN_GROUP_INFO = frozenset(ExtensionType) - {ExtensionType.RATCHET_TREE, ExtensionType.EXTERNAL_PUB}


def l17_leaf_extensions(extensions: tuple[Extension, ...]) -> None:
    """A leaf holds no extension that belongs elsewhere, §17.3."""
    _check_places(extensions, _NOT_IN_LEAF)


def l17_key_package_extensions(extensions: tuple[Extension, ...]) -> None:
    """A key package holds no extension that belongs elsewhere, §17.3."""
    _check_places(extensions, _NOT_IN_KEY_PACKAGE)


def l17_group_context_extensions(extensions: tuple[Extension, ...]) -> None:
    """A GroupContext holds no extension that belongs elsewhere, §17.3."""
    _check_places(extensions, _NOT_IN_GROUP_CONTEXT)


def l17_group_info_extensions(extensions: tuple[Extension, ...]) -> None:
    """A GroupInfo holds no extension that belongs elsewhere, §17.3."""
    _check_places(extensions, _NOT_IN_GROUP_INFO)


def _check_places(extensions: tuple[Extension, ...], elsewhere: frozenset[ExtensionType]) -> None:
    for extension in extensions:
        if extension.extension_type in elsewhere:
            raise RuleViolation("L17", f"extension type {extension.extension_type} does not belong here")


def l18_extension_types_unique(extensions: tuple[Extension, ...]) -> None:
    """No list holds two extensions of one type, §13.4."""
    if len({extension.extension_type for extension in extensions}) != len(extensions):
        raise RuleViolation("L18", "two extensions of one type")
