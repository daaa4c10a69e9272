"""The repository as a whole: nothing of one machine in it, nothing unfinished, and its lists agree with each other."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.contracts.tree import PACKAGES, ROOT, imports, modules, texts

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = ("requirements.txt", "requirements-build.txt", "requirements-test.txt")
LINES_MAX = 500
THIS = "tests/contracts/test_repository.py"

# Each with the reason that it may not stay in any file.
UNWANTED = {
    r"/(?:home|Users|root|work)/\w": "a path of one machine",
    r"/tmp/\w": "a path of one machine",
    r"files\.pythonhosted\.org|pypi\.org/simple|/simple/|registry\.npmjs": "an address of a package registry",
    r"\.whl#": "an address of a package",
    r"\b(?:TODO|FIXME|XXX)\b": "work left for later",
    r"NotImplementedError": "a stub",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----": "a private key",
}
# Lines that may hold an unwanted form, by file.
EXCUSED = {
    THIS: "names the forms",
    "Dockerfile": "the wheel that it builds itself",
}


def asked_for() -> list[Requirement]:
    """Everything that pyproject.toml asks for, on any machine."""
    project = PROJECT["project"]
    lines = [
        *PROJECT["build-system"]["requires"],
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
        *(line for group in PROJECT["dependency-groups"].values() for line in group),
    ]
    return list(map(Requirement, lines))


def requirements() -> dict[str, Requirement]:
    """What it asks for on this machine, by canonical name."""
    return {canonicalize_name(requirement.name): requirement for requirement in asked_for() if fits(requirement)}


def fits(requirement: Requirement) -> bool:
    """Whether it is for this Python on this machine: peers that come as a binary are not for all."""
    return requirement.marker is None or requirement.marker.evaluate()


def pinned(lock: str) -> list[Requirement]:
    """Every pin of a lock, those for other machines included."""
    lines = re.findall(r"^([a-z0-9-]+==[^\\\n]+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE)
    return [Requirement(line) for line in lines]


def pins(lock: str) -> dict[str, str]:
    """The versions that a lock has for this machine."""
    return {pin.name: next(iter(pin.specifier)).version for pin in pinned(lock) if fits(pin)}


@pytest.mark.parametrize("form", UNWANTED, ids=UNWANTED.values())
def test_no_file_holds(form: str) -> None:
    found = [
        f"{path.as_posix()}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        if path.as_posix() not in EXCUSED
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(form, line)
    ]
    assert found == []


def test_no_python_file_is_longer_than_two_ideas() -> None:
    """Migrations are exempt: Piccolo writes them, once, and nobody edits them afterwards."""
    long = {
        path.as_posix(): len(text.splitlines())
        for path, text in texts()
        if path.suffix == ".py" and path.parts[0] != "migrations" and len(text.splitlines()) > LINES_MAX
    }
    assert long == {}


def test_every_suppressed_check_names_its_code_and_reason() -> None:
    """STYLE: a `type: ignore` or `noqa` carries both: `# noqa: S608  the table name is a constant`."""
    bare = [
        f"{path.as_posix()}:{number}"
        for path, text in texts()
        if path.suffix == ".py" and path.as_posix() != THIS
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(r"#\s*(?:noqa|type:\s*ignore)", line)
        and not re.search(
            r"#\s*(?:noqa: ?[A-Z]+\d+(?:, ?[A-Z]+\d+)*|type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\])\s+\S", line
        )
    ]
    assert bare == []


def test_the_licence_is_the_one_named() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_has_the_version_on_top() -> None:
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert versions[0] == PROJECT["project"]["version"]


def test_every_dependency_has_its_reason_and_every_reason_its_dependency() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    named = [row[0].strip("`") for row in rows]
    assert sorted(named) == sorted({canonicalize_name(requirement.name) for requirement in asked_for()})
    assert [row[0] for row in rows if len(row) != 5 or not all(row)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_hashes_and_nothing_but_pins(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert len(entries) == len(pinned(lock))
    # A wheel and an sdist, or one wheel for each platform: a single hash would tie the lock to one machine.
    everywhere = [entry for entry in entries if "platform_machine" not in entry.splitlines()[0]]
    assert [entry.splitlines()[0] for entry in everywhere if entry.count("--hash=sha256:") < 2] == []


def test_the_locks_fit_what_the_project_asks_for() -> None:
    tested = pins("requirements-test.txt")
    outside = [
        f"{requirement} but {tested.get(name)}"
        for name, requirement in requirements().items()
        if name not in tested or not requirement.specifier.contains(tested[name])
    ]
    assert outside == []


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-build.txt"])
def test_what_is_tested_is_what_is_installed(lock: str) -> None:
    tested = pins("requirements-test.txt")
    assert {name: pin for name, pin in pins(lock).items() if tested.get(name) != pin} == {}


def imported(*packages: str) -> dict[str, str]:
    """Distributions that the packages import, by canonical name, each with one module that does."""
    owners = packages_distributions()
    found: dict[str, str] = {}
    for name, module in modules(*packages).items():
        for target in imports(name, module):
            top = target.target.split(".", maxsplit=1)[0]
            if top not in sys.stdlib_module_names:
                found.update({canonicalize_name(owner): name for owner in owners.get(top, ())})
    return found


def test_what_the_packages_import_is_declared() -> None:
    """Not left to come along with something else that may drop it."""
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    undeclared = {name: module for name, module in imported(*PACKAGES).items() if name not in {*declared, "sealdesk"}}
    assert undeclared == {}


def test_what_is_declared_is_used() -> None:
    """A module imports it, or names it: uvicorn is given `websockets` as a word."""
    used = imported(*PACKAGES)
    code = "\n".join(text for path, text in texts() if path.parts[0] in PACKAGES and path.suffix == ".py")
    declared = [Requirement(line).name for line in PROJECT["project"]["dependencies"]]
    unused = [name for name in declared if canonicalize_name(name) not in used and name.replace("-", "_") not in code]
    assert unused == []


def test_every_lower_bound_has_an_upper_one() -> None:
    open_ended = [str(item) for item in requirements().values() if {s.operator for s in item.specifier} != {">=", "<"}]
    assert open_ended == []


def test_every_decision_follows_the_template() -> None:
    notes = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [note.name[:4] for note in notes] == [f"{number:04}" for number in range(len(notes))]
    for note in notes:
        headings = re.findall(r"^## (.+)$", note.read_text("utf-8"), re.MULTILINE)
        assert headings == ["Context", "Options", "Choice", "Consequences"], note.name


def test_every_link_in_the_documents_leads_somewhere() -> None:
    broken = [
        f"{path.as_posix()}: {target}"
        for path, text in texts()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
        if not target.startswith(("https://", "http://", "#"))
        and not (ROOT / path.parent / target.split("#")[0]).exists()
    ]
    assert broken == []


def test_the_tree_is_read(tmp_path: Path) -> None:
    assert (Path("pyproject.toml"), (ROOT / "pyproject.toml").read_text("utf-8")) in list(texts())
    assert not any(tmp_path.is_relative_to(ROOT / path) for path, _ in texts())
