"""A `Secret`, and everything that holds one, shows nothing; `.reveal()` stands in few places, each with its reason."""

import ast
import copy
import dataclasses
import importlib
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from rich.pretty import pretty_repr

from backend.settings import Settings
from crypto.secret import Secret
from protocol import api
from sealdesk_cli.links import Invitation
from tests.contracts.tree import inside, modules

CANARY = b"canary-0123456789-canary"
SHOWN_FORMS = (CANARY.decode(), CANARY.hex(), repr(CANARY))

# Where bytes may leave their wrapper. Everything else passes the Secret on.
REVEALS = {
    "crypto.secret": "defines it",
    "crypto.codecs": "encodes secrets that travel inside encrypted structs",
    "crypto.hpke": "calls the HPKE and AEAD primitives",
    "crypto.kem": "calls the KEM primitives",
    "crypto.suites": "calls the hash, AEAD and signature primitives",
    "crypto.attachments": "calls the AEAD of attachments",
    "crypto.profile.fields": "checks and gives out what a person wrote; calls the KDF and AEAD of fields",
    "crypto.profile.own": "decodes the keys that come from a store or another device",
    "crypto.identity.accounts": "derives the root key from the recovery phrase",
    "crypto.identity.organisation": "calls the AEAD of the organisation's key file",
    "crypto.identity.link_codes": "writes the code of a link for the new device's screen, and its check",
    "crypto.identity.linking": "stretches the code of a link by Argon2id",
    "crypto.mls.stored_rows": "writes state for the encrypted store",
    "crypto.mls.secret_tree": "writes its rows for the encrypted store",
    "crypto.mls.treekem": "seals path secrets to their receivers",
    "crypto.mls.joining": "decodes what a Welcome holds",
    "crypto.mls.protection": "calls the AEAD of messages",
    "crypto.mls.key_schedule": "gives the AEAD a nonce, which is not secret to it",
    "crypto.mls.psk_lookup": "draws a PSK's nonce, which is public",
    "crypto.mls.group_view": "gives out the epoch authenticator, which members show each other",
    "client_lib.engine.identity": "writes our keys for the encrypted store",
    "client_lib.content.codec": "puts the attachment's key into content that is then encrypted",
    "client_lib.store": "opens the encrypted store and writes into it",
}

# PRAGMA key takes no bound parameter, so the store's key has to be spelled into the statement.
IN_TEXT = {"client_lib.store.sqlite"}


def holders() -> Iterator[type[Any]]:
    """Every dataclass and named tuple of ours with a field whose type mentions `Secret`."""
    for name in modules("crypto", "client_lib"):
        if name.rpartition(".")[2].startswith("__main__"):
            continue
        module = importlib.import_module(name)
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == name and secret_fields(value):
                yield value


def secret_fields(holder: type[Any]) -> list[str]:
    if not dataclasses.is_dataclass(holder) and not hasattr(holder, "_fields"):
        return []
    return [name for name, hint in get_type_hints(holder).items() if mentions_secret(hint)]


def mentions_secret(hint: Any) -> bool:
    return hint is Secret or any(mentions_secret(part) for part in get_args(hint))


def holding(holder: type[Any]) -> Any:
    """An instance whose secret fields are canaries and whose other fields are empty."""
    secrets = dict.fromkeys(secret_fields(holder), Secret(CANARY))
    if hasattr(holder, "_fields"):
        return holder._make(secrets.get(name) for name in holder._fields)
    value = object.__new__(holder)
    for field in dataclasses.fields(holder):
        object.__setattr__(value, field.name, secrets.get(field.name))
    return value


def shows(text: str) -> bool:
    return any(form in text for form in SHOWN_FORMS)


DISPLAYS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "f-string": lambda value: f"{value} {value!r}",
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031  the form that logging uses
    "format": lambda value: "{} {!r}".format(value, value),  # noqa: UP032  the form under test
    "in a list": lambda value: repr([value, {"key": value}]),
    "exception": lambda value: "".join(traceback.format_exception(ValueError(value))),
    "log record": lambda value: logging.makeLogRecord({"msg": "%s", "args": (value,)}).getMessage(),
}


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_secret_is_not_displayed(display: str) -> None:
    assert not shows(DISPLAYS[display](Secret(CANARY)))


def test_the_same_displays_do_show_plain_bytes() -> None:
    assert all(shows(show(CANARY)) for show in DISPLAYS.values())


@pytest.mark.parametrize("display", DISPLAYS)
def test_what_holds_a_secret_does_not_display_it(display: str) -> None:
    found = list(holders())
    assert len(found) >= 5, "the search for holders no longer finds them"
    assert [holder.__qualname__ for holder in found if shows(DISPLAYS[display](holding(holder)))] == []


def test_what_opens_doors_is_not_displayed_either() -> None:
    """Tokens, invitations and database passwords are no `Secret`s: they travel in the clear inside TLS."""
    canary = CANARY.decode("latin-1")
    for value in (
        api.Session(canary, 0),
        api.OpenSession(b"", b"", CANARY),
        api.RegisterAccount(invitation=CANARY, signing_key_certificate=b"", device_certificate=b"", device_list=b""),
        Invitation("https://chat.example.org", CANARY),
        Settings(database_url=f"postgresql://user:{canary}@host/name"),
    ):
        assert not any(shows(show(value)) for show in DISPLAYS.values()), type(value)
        assert not shows(pretty_repr(value)), type(value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_and_its_holders_cannot_be_pickled(protocol: int) -> None:
    for value in [Secret(CANARY), *map(holding, holders())]:
        with pytest.raises((TypeError, pickle.PicklingError)):
            pickle.dumps(value, protocol)


def test_a_secret_cannot_be_copied_hashed_or_serialised() -> None:
    secret = Secret(CANARY)
    attempts: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy, hash, json.dumps, msgspec.json.encode, bytes]
    for attempt in attempts:
        with pytest.raises(TypeError) as failure:
            attempt(secret)
        assert not shows(str(failure.value))


def test_a_secret_compares_by_value_and_only_with_secrets() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY[:-1] + b"?")
    assert Secret(CANARY) != CANARY


def reveal_calls(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "reveal":
            yield node


def test_reveal_stands_only_where_a_reason_is_listed() -> None:
    wrong = [
        f"{name}:{call.lineno}"
        for name, module in modules("backend", "client_lib", "crypto", "protocol", "sealdesk_cli").items()
        if not any(inside(name, row) for row in REVEALS)
        for call in reveal_calls(module)
    ]
    assert wrong == []


def test_no_revealed_bytes_go_into_text_logs_or_exceptions() -> None:
    speaking = set()
    for name, module in modules("backend", "client_lib", "crypto", "protocol", "sealdesk_cli").items():
        for node in ast.walk(module):
            spoken = isinstance(node, ast.JoinedStr | ast.Raise) or (
                isinstance(node, ast.Call) and is_output(node.func)
            )
            if spoken and any(True for _ in reveal_calls(node)):
                speaking.add(name)
    assert speaking == IN_TEXT


def is_output(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in {"print", "repr", "str", "format"}
    return isinstance(function, ast.Attribute) and function.attr in {
        "debug", "info", "warning", "error", "exception", "critical", "log", "print", "format",
    }  # fmt: skip
