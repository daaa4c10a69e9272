"""Decoded values, taken apart and put together again: what signs anew, and what changes one place, needs this."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from crypto.mls.key_package import KeyPackage, sign_key_package
from crypto.mls.tree_nodes import LeafIndex, LeafNode
from crypto.suites import SignatureKeyPair
from tests.crypto.identities import signed_leaf
from tests.fuzzing.world import SUITE

FIRST_LEAF = LeafIndex(0)

Place = tuple[str | int, ...]
"""The way to a part of a value: names of fields and numbers of items."""


def parts(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every part of a value with its place, the whole first."""
    yield place, value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name), (*place, field.name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from parts(item, (*place, number))


def with_part(value: Any, place: Place, part: Any) -> Any:
    """The same value with another part at a place."""
    if not place:
        return part
    here, *rest = place
    if isinstance(here, int):
        return (*value[:here], with_part(value[here], tuple(rest), part), *value[here + 1 :])
    return dataclasses.replace(value, **{here: with_part(getattr(value, here), tuple(rest), part)})


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same value with every struct in it passed through `change`, the inner ones first."""
    if isinstance(value, tuple):
        return tuple(rebuilt(item, change) for item in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    made = {name: rebuilt(part, change) for name, part in inner.items()}
    changed = any(made[name] is not part for name, part in inner.items())
    return change(dataclasses.replace(value, **made) if changed else value)


def signed_anew(
    value: Any, keyring: Mapping[bytes, SignatureKeyPair], group_id: bytes = b"", leaf_index: LeafIndex = FIRST_LEAF
) -> Any:
    """The same value, with the signatures of its leaves and key packages made to hold wherever we have the key.

    All keys of the world are Ed25519, whatever suite the fuzzer has put beside them.
    """

    def sign(part: Any) -> Any:
        match part:
            case LeafNode(signature_key=key) if key in keyring:
                return signed_leaf(SUITE, keyring[key], part, group_id, leaf_index)
            case KeyPackage(leaf_node=LeafNode(signature_key=key)) if key in keyring:
                return sign_key_package(SUITE, keyring[key], part)
            case _:
                return part

    return rebuilt(value, sign)
