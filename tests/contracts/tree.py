"""The source tree as the contract tests see it: which files there are, and what a module imports."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("backend", "client_lib", "crypto", "migrations", "protocol", "sealdesk_cli")

# What git ignores, by name: a source archive has no git to ask.
_NOT_SOURCE = {".git", ".venv", "build", "dist", "data", "sealdesk-data", "htmlcov", "__pycache__", ".hypothesis"}
_NOT_SOURCE |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".idea", ".vscode", "results"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: `target` is `a.b.c` for `from a.b import c` and for `import a.b.c` alike."""

    target: str
    line: int


def files() -> Iterator[Path]:
    """Every file that belongs to the project."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in _NOT_SOURCE or path.name.startswith(".coverage") or path.is_symlink():
                continue
            if path.is_dir():
                folders.append(path)
            else:
                yield path


def texts() -> Iterator[tuple[Path, str]]:
    """Every file of the project that is text, with its path relative to the root."""
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield path.relative_to(ROOT), content.decode("utf-8")


def module_name(path: Path) -> str:
    """Name of the module at `path`, relative to the root: `crypto/mls/psk.py` is `crypto.mls.psk`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(*packages: str) -> dict[str, ast.Module]:
    """Every module of `packages`, parsed."""
    found = {}
    for package in packages:
        assert (ROOT / package).is_dir(), package
        for path in sorted((ROOT / package).rglob("*.py")):
            found[module_name(path.relative_to(ROOT))] = ast.parse(path.read_text("utf-8"), str(path))
    return found


def is_package(name: str) -> bool:
    """Tell a package from a plain module."""
    return (ROOT / name.replace(".", "/")).is_dir()


def imports(name: str, module: ast.Module) -> Iterator[Import]:
    """Everything that a module imports, wherever the statement stands in it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if is_package(name) else name.split(".")[:-1]
                kept = package[: len(package) - node.level + 1]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno)


def inside(name: str, package: str) -> bool:
    """Tell whether a dotted name is `package` or lies in it."""
    return name == package or name.startswith(package + ".")
