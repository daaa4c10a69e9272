"""Imports point one way, and the pure packages touch nothing outside themselves (docs/architecture.md)."""

import ast
from collections.abc import Iterator

import pytest

from tests.contracts.tree import PACKAGES, imports, inside, modules

# Who may import what of ours, itself apart. The longest matching row counts.
ARROWS = {
    "protocol": (),
    "migrations": (),
    "crypto": (),
    "backend": ("crypto.public", "protocol"),
    "client_lib": ("crypto", "protocol"),
    "sealdesk_cli": ("backend", "client_lib", "protocol"),
}

# Rooms inside a package that may not see their neighbours: the row lists all that they may.
ROOMS = {
    "crypto.errors": (),
    "crypto.secret": (),
    "crypto.texts": ("crypto.errors",),
    "crypto.codecs": ("crypto.errors", "crypto.secret"),
    "crypto.wire": ("crypto.codecs", "crypto.errors", "crypto.secret"),
    "crypto.kem": ("crypto.secret",),
    "crypto.hpke": ("crypto.errors", "crypto.kem", "crypto.secret"),
    "crypto.suites": ("crypto.errors", "crypto.hpke", "crypto.kem", "crypto.secret", "crypto.wire"),
    "crypto.mls": ("crypto.errors", "crypto.kem", "crypto.secret", "crypto.suites", "crypto.wire"),
    "crypto.attachments": ("crypto.errors", "crypto.secret", "crypto.wire"),
    "crypto.profile": (
        "crypto.errors",
        "crypto.identity",
        "crypto.secret",
        "crypto.suites",
        "crypto.texts",
        "crypto.wire",
    ),
    "client_lib.content": ("client_lib.errors", "crypto"),
    "client_lib.engine": (
        "client_lib.content",
        "client_lib.errors",
        "client_lib.events",
        "client_lib.store.model",
        "crypto",
        "protocol",
    ),
    "client_lib.events": ("client_lib.content",),
    "client_lib.store": ("client_lib.errors", "crypto.secret"),
    "client_lib.transport": ("client_lib.errors", "protocol"),
}

# No clock, no socket, no file, no event loop: the pure packages may import these and nothing else from outside.
PURE = ("crypto", "protocol", "client_lib.engine", "client_lib.content")
PURE_IMPORTS = {
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum",
    "functools", "hashlib", "hmac", "html", "inspect", "itertools", "math", "operator", "re", "struct", "sys", "types",
    "typing", "unicodedata", "urllib.parse",
    "cbor2", "cryptography", "markdown_it", "mnemonic", "msgspec", "nacl",
}  # fmt: skip

# Where randomness is drawn, and only inside functions whose name says so.
RANDOM_IMPORTS = {"os.urandom", "secrets", "nacl.utils.random"}
RANDOM_CALLS = {
    "urandom",
    "token_bytes",
    "token_hex",
    "token_urlsafe",
    "randbits",
    "randbelow",
    "randombytes",
    "generate",
}

# Names that the allowed modules hold and a pure module may not touch all the same.
IMPURE_NAMES = {"input", "open", "print", "breakpoint", "exec", "eval", "__import__"}


def allowed(name: str) -> tuple[str, ...]:
    rows = [row for row in (*ARROWS, *ROOMS) if inside(name, row)]
    longest = max(rows, key=len)
    own = (longest,)
    if longest in ROOMS:
        return own + ROOMS[longest]
    return own + ARROWS[longest]


def our_package(target: str) -> bool:
    return target.split(".", maxsplit=1)[0] in (*PACKAGES, "examples", "benchmarks", "tests")


def random_draws(node: ast.AST, function: str | None = None) -> Iterator[tuple[str | None, str, int]]:
    """Each call that draws randomness, with the function that it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from random_draws(child, child.name)
            continue
        if isinstance(child, ast.Call):
            called = child.func
            name = (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
            if name in RANDOM_CALLS or (name == "random" and isinstance(called, ast.Attribute)):
                yield function, name, child.lineno
        yield from random_draws(child, function)


def test_every_import_follows_an_arrow() -> None:
    wrong = [
        f"{name}:{found.line} imports {found.target}"
        for name, module in modules(*PACKAGES).items()
        for found in imports(name, module)
        if our_package(found.target) and not any(inside(found.target, package) for package in allowed(name))
    ]
    assert wrong == []


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules that import each other, directly or by way of others."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            new = graph[ahead.pop()] - found
            found |= new
            ahead.extend(new)
        return found

    reach = {name: reached(name) for name in graph}
    found = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph if name in reach[name]}
    return sorted(map(set, found), key=sorted)


def crypto_graph() -> dict[str, set[str]]:
    """Which modules of `crypto` each of them imports."""
    found = modules("crypto")
    return {
        name: {
            target
            for each in imports(name, module)
            for target in (each.target, each.target.rpartition(".")[0])
            if target in found and target != name
        }
        for name, module in found.items()
    }


def test_no_modules_of_crypto_import_each_other_in_a_circle() -> None:
    """Not for the type checker alone either: who reads a module has read all that it builds on."""
    assert circles(crypto_graph()) == []


def test_what_is_on_the_wire_can_be_read_without_the_rules() -> None:
    """Decoding any message pulls in neither a rule nor a tree."""
    graph = crypto_graph()
    read, ahead = set(), ["crypto.mls.mls_message"]
    while ahead:
        name = ahead.pop()
        read.add(name)
        ahead.extend(graph[name] - read)
    assert "crypto.mls.key_package" in read
    assert not [name for name in read if "ratchet_tree" in name or "rules" in name]


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e"}}
    assert circles(graph) == [{"b", "c"}, {"e"}]


def test_pure_packages_import_nothing_that_reaches_outside() -> None:
    wrong = [
        f"{name}:{found.line} imports {found.target}"
        for name, module in modules("crypto", "protocol", "client_lib").items()
        if any(inside(name, package) for package in PURE)
        for found in imports(name, module)
        if not our_package(found.target)
        and not any(inside(found.target, row) for row in PURE_IMPORTS)
        and not any(inside(found.target, row) for row in RANDOM_IMPORTS)
        and found.target != "os"
    ]
    assert wrong == []


def test_pure_packages_use_os_for_randomness_alone() -> None:
    wrong = [
        f"{name}:{node.lineno} uses os.{node.attr}"
        for name, module in modules("crypto", "protocol", "client_lib").items()
        if any(inside(name, package) for package in PURE)
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if node.attr != "urandom"
    ]
    assert wrong == []


def test_pure_packages_are_plain_functions() -> None:
    wrong = []
    for name, module in modules("crypto", "protocol", "client_lib").items():
        if not any(inside(name, package) for package in PURE):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global):
                wrong.append(f"{name}:{node.lineno} {type(node).__name__}")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_NAMES:
                wrong.append(f"{name}:{node.lineno} calls {node.func.id}")
    assert wrong == []


def test_randomness_is_drawn_in_generate_functions_alone() -> None:
    wrong = [
        f"{name}:{line} draws by {call} in {function or 'module code'}"
        for name, module in modules("crypto", "client_lib").items()
        if any(inside(name, package) for package in PURE)
        for function, call, line in random_draws(module)
        if function is None or not function.lstrip("_").startswith("generate_")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "source, found",
    [
        ("def f():\n    return os.urandom(4)", [("f", "urandom", 2)]),
        ("def generate_x():\n    return secrets.token_bytes(4)", [("generate_x", "token_bytes", 2)]),
        ("X = Ed25519PrivateKey.generate()", [(None, "generate", 1)]),
        ("def f():\n    return lambda: nacl.utils.random(3)", [("f", "random", 2)]),
    ],
)
def test_a_draw_is_found(source: str, found: list[tuple[str | None, str, int]]) -> None:
    assert list(random_draws(ast.parse(source))) == found


def test_a_relative_import_is_resolved() -> None:
    module = ast.parse("from ..mls import psk\nfrom . import accounts\nimport crypto.wire")
    targets = [found.target for found in imports("crypto.identity.sessions", module)]
    assert targets == ["crypto.mls.psk", "crypto.identity.accounts", "crypto.wire"]
