"""What the documents show is run: commands, programs, output. `documents` says how a block is marked."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.settings import Settings
from tests.contracts.documents import Block, Command, DocumentError, begins, blocks, commands, matches
from tests.contracts.tree import ROOT, texts

PARSERS: dict[str, Callable[[str], Any]] = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
DEFAULT_PORT = str(Settings().port)
COMMAND_TIMEOUT_S = 60

DOCUMENTS = [path for path, _ in texts() if path.suffix == ".md" and path.parts[0] != "tests"]
WITH_CODE = [
    path for path in DOCUMENTS if any(block.language in ("console", "python") for block in blocks(ROOT / path))
]


@dataclass(slots=True)
class Folder:
    """Where one document is played: a folder, a free port in place of the default one, what runs in the background."""

    path: Path
    port: str
    background: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
        tools = Path(sys.executable).parent
        return {
            **inherited,
            "HOME": str(self.path),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "SEALDESK_PORT": self.port,
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }

    def here(self, text: str) -> str:
        """The document's text with the port that this run uses."""
        return text.replace(DEFAULT_PORT, self.port)

    def start(self, command: list[str], output: Path) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own, so that all it starts can be ended with it."""
        with output.open("wb") as stream:
            return subprocess.Popen(
                command,
                cwd=self.path,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, command: Command, where: str) -> None:
        """Run one command and compare what it prints with what the document shows."""
        output = self.path / f".output-{command.line}"
        process = self.start(["bash", "-c", self.here(command.text)], output)
        expected = tuple(self.here(line) for line in command.expected)
        if command.background:
            self.background.append((process, output))
            wait_until_printed(process, expected, output, where)
            return
        try:
            code = process.wait(COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            pytest.fail(f"{where}: did not end in {COMMAND_TIMEOUT_S} s\n{output.read_text('utf-8', 'replace')}")
        printed = output.read_text("utf-8", "replace")
        assert code == 0, f"{where}: exit code {code}\n{printed}"
        shown = "\n".join(expected)
        assert matches(expected, printed), f"{where}: printed\n{printed}\nbut the document shows\n{shown}"

    def run_program(self, block: Block, where: str) -> None:
        """Run a Python block; it must end without an error."""
        program = self.path / f"block_{block.line}.py"
        program.write_text(self.here(block.text) + "\n", "utf-8")
        output = self.path / f".output-{block.line}"
        process = self.start([sys.executable, str(program)], output)
        assert process.wait(COMMAND_TIMEOUT_S) == 0, f"{where}:\n{output.read_text('utf-8', 'replace')}"


def wait_until_printed(process: subprocess.Popen[bytes], expected: tuple[str, ...], output: Path, where: str) -> None:
    deadline = time.monotonic() + COMMAND_TIMEOUT_S
    while not begins(expected, output.read_text("utf-8", "replace")):
        printed = output.read_text("utf-8", "replace")
        assert process.poll() is None, f"{where}: ended with {process.returncode}\n{printed}"
        assert time.monotonic() < deadline, f"{where}: printed only\n{printed}"
        time.sleep(0.05)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@contextmanager
def folder(path: Path) -> Iterator[Folder]:
    """A folder for one document; whatever it left running is stopped at the end, the way Ctrl-C does it."""
    place = Folder(path, free_port())
    try:
        yield place
    finally:
        for process, output in reversed(place.background):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(COMMAND_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                pytest.fail(f"a background command did not stop\n{output.read_text('utf-8', 'replace')}")


def play(document: Path, place: Folder) -> int:
    """Run everything that a document wants run; returns how many things that were."""
    count = 0
    for block in blocks(document):
        if block.reason:
            continue
        if block.language == "console":
            for command in commands(block):
                place.run(command, f"{block.document}:{command.line}")
                count += 1
        elif block.language == "python" and block.file:
            (place.path / block.file).write_text(place.here(block.text) + "\n", "utf-8")
        elif block.language == "python":
            place.run_program(block, f"{block.document}:{block.line}")
            count += 1
    return count


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_block_is_of_a_known_kind(document: Path) -> None:
    for block in blocks(ROOT / document):
        if block.language in PARSERS and not block.reason:
            PARSERS[block.language](block.text)


def test_the_readme_shows_something_that_runs() -> None:
    run = [block for block in blocks(ROOT / "README.md") if block.language == "console" and not block.reason]
    assert [command for block in run for command in commands(block)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", WITH_CODE, ids=str)
def test_the_document_plays(document: Path) -> None:
    # pytest's folders are closed to others, and as root PostgreSQL runs as nobody: a folder of our own.
    with tempfile.TemporaryDirectory(prefix="sealdesk-page-") as path:
        Path(path).chmod(0o711)
        with folder(Path(path)) as place:
            play(ROOT / document, place)


def written(path: Path, text: str) -> Path:
    path.write_text(text.replace("'''", "```"), "utf-8")
    return path


def test_commands_programs_and_background_are_run(tmp_path: Path) -> None:
    document = written(
        tmp_path / "sample.md",
        f"""# Sample

'''console
$ while true; do echo up at {DEFAULT_PORT}; sleep 1; done &
up at {DEFAULT_PORT}
$ echo one; echo 'two 2'
one
two ...
$ printf 'a\\nb\\nc\\n'
a
...
c
'''

'''python file=greet.py
print("hello")
'''

'''python
assert open("greet.py").read() == 'print("hello")\\n'
'''

'''console
$ python greet.py
hello
'''
""",
    )
    with folder(tmp_path) as place:
        assert play(document, place) == 5


@pytest.mark.parametrize(
    "block",
    [
        "'''console\n$ echo one\ntwo\n'''",
        "'''console\n$ echo one\n'''",
        "'''console\n$ true\nsomething\n'''",
        "'''console\n$ false\n'''",
        "'''console\n$ exit 3 &\nnever\n'''",
        "'''python\nraise SystemExit(1)\n'''",
    ],
)
def test_a_document_that_is_not_true_fails(block: str, tmp_path: Path) -> None:
    document = written(tmp_path / "sample.md", block)
    with pytest.raises(AssertionError), folder(tmp_path) as place:
        play(document, place)


@pytest.mark.parametrize(
    "block",
    [
        "'''\n$ echo\n'''",
        "'''bash\necho\n'''",
        "'''console illustrative:\n$ echo\n'''",
        "'''console skipped\n$ echo\n'''",
        "'''console\nno command\n'''",
        "'''console\n$ echo\n",
    ],
)
def test_a_block_without_a_kind_or_reason_is_refused(block: str, tmp_path: Path) -> None:
    document = written(tmp_path / "sample.md", block)
    with pytest.raises(DocumentError), folder(tmp_path) as place:
        play(document, place)


def test_a_block_with_a_reason_is_left_out(tmp_path: Path) -> None:
    document = written(tmp_path / "sample.md", "'''console illustrative: needs a cloud account\n$ false\n'''")
    with folder(tmp_path) as place:
        assert play(document, place) == 0
