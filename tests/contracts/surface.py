"""The public names of the packages with their signatures, one line each, so that a change of them shows in review.

`python -m tests.contracts.surface` (`make surface`) writes the listing and docs/settings.md again.
"""

import argparse
import dataclasses
import enum
import importlib
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec

from sealdesk_cli.errors import while_read
from tests.contracts import settings_table
from tests.contracts.tree import ROOT

LISTING = ROOT / "tests" / "contracts" / "public_surface.txt"

# What others may import: what `__all__` says or, without one, each name without an underscore that the module defines.
PUBLIC = (
    "client_lib",
    "client_lib.errors",
    "client_lib.events",
    "crypto",
    "crypto.attachments",
    "crypto.errors",
    "crypto.identity",
    "crypto.mls",
    "crypto.mls.group",
    "crypto.mls.snapshot",
    "crypto.profile",
    "crypto.public",
    "crypto.secret",
    "protocol.api",
    "protocol.codes",
    "protocol.frames",
    "protocol.limits",
)


def render() -> str:
    """The whole listing."""
    lines: list[str] = []
    for name in PUBLIC:
        module = importlib.import_module(name)
        lines.append(f"[{name}]")
        for public in public_names(module):
            lines.extend(_describe(public, getattr(module, public)))
        lines.append("")
    return "\n".join(lines)


def public_names(module: ModuleType) -> list[str]:
    """The names that a module offers, sorted. Of constants, those spelled in capitals."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(listed)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        if getattr(value, "__module__", None) == module.__name__ or (name.isupper() and not callable(value))
    )


def _describe(name: str, value: Any) -> Iterator[str]:
    """One line for a function or a constant; for a class one more for each public field, member and method."""
    if inspect.ismodule(value):
        yield f"{name}: module {value.__name__}"
    elif inspect.isfunction(value):
        yield f"{name}{_signature(value)}"
    elif inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in _members(value))
    else:
        yield f"{name}: {type(value).__name__}"


def _members(value: type[Any]) -> Iterator[str]:
    fields = _fields(value)
    if issubclass(value, enum.Enum):
        yield from (f"{member.name} = {member.value!r}" for member in value)
        fields = []
    yield from fields
    named = {field.split(":")[0] for field in fields}
    for name in sorted(vars(value)):
        member = inspect.getattr_static(value, name)
        if name in named or (name.startswith("_") and name not in ("__init__", "__call__")):
            continue
        if name == "__init__" and (fields or dataclasses.is_dataclass(value)):
            continue
        if isinstance(member, property):
            yield f"{name}: property{_signature(member.fget).partition(')')[2]}"
        elif isinstance(member, classmethod | staticmethod):
            yield f"{type(member).__name__} {name}{_signature(member.__func__)}"
        elif inspect.isfunction(member):
            yield f"{'async ' if inspect.iscoroutinefunction(member) else ''}def {name}{_signature(member)}"


def _fields(value: type[Any]) -> list[str]:
    if dataclasses.is_dataclass(value):
        return [f"{field.name}: {_name(field.type)}" for field in dataclasses.fields(value)]
    if issubclass(value, msgspec.Struct):
        return [f"{field.name}: {_name(field.type)}" for field in msgspec.structs.fields(value)]
    if issubclass(value, tuple) and hasattr(value, "_fields"):
        return [f"{name}: {_name(value.__annotations__[name])}" for name in value._fields]
    return []


def _signature(function: Any) -> str:
    """The signature with annotations as they are written, alike on every Python version."""
    signature = inspect.signature(function)
    parameters = [
        item.replace(annotation=_Shown.of(item.annotation), default=_default(item.default))
        for item in signature.parameters.values()
    ]
    shown = signature.replace(parameters=parameters, return_annotation=_Shown.of(signature.return_annotation))
    return str(shown)


def _default(value: Any) -> Any:
    """A default as it is printed: a function by its name, since its repr holds an address."""
    return _Shown(value.__name__) if inspect.isfunction(value) else value


class _Shown:
    """Something that `inspect` prints as `text`."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    @classmethod
    def of(cls, annotation: Any) -> Any:
        return annotation if annotation is inspect.Signature.empty else cls(_name(annotation))


def _name(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return (
        annotation.__name__
        if isinstance(annotation, type) and not hasattr(annotation, "__args__")
        else repr(annotation)
    )


def main() -> int:
    """Write what is generated from code."""
    argparse.ArgumentParser(
        prog="python -m tests.contracts.surface",
        description="Write the listing of public names and signatures, and docs/settings.md, again from the code. Run "
        "it after a public name or a setting has changed, read what differs, and commit it; a test fails while either "
        "is out of date.",
    ).parse_args()
    for path, text in ((LISTING, render()), (settings_table.PAGE, settings_table.render())):
        path.write_text(text, "utf-8")
        print(f"written: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(while_read(main))
