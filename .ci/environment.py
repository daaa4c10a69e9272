"""Make `.venv` from the locked requirements: what every make target needs before it can run.

Run by the Makefile, with whichever Python it found and nothing but the standard library. `--fit` says on one line
why this Python will not do, or nothing and exit code 0.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements-test.txt"


def unfit_reason() -> str | None:
    """Say why this interpreter cannot make the environment, or None where it can."""
    version = ".".join(map(str, sys.version_info[:2]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        return f"{sys.executable} is {version}."
    # Debian and Ubuntu ship Python without it.
    if importlib.util.find_spec("ensurepip") is None:
        return f"{sys.executable} cannot make a virtual environment: apt-get install python{version}-venv."
    return None


def say(text: str, *, end: str = "\n") -> None:
    """Write one line of progress."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def install(arguments: list[str], packages_count: int = 0) -> None:
    """Run pip inside `.venv`, counting the packages as they come; what it said is shown only if it fails."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    process = subprocess.Popen(
        [*command, "--progress-bar", "off", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    last_lines: deque[str] = deque(maxlen=30)
    count = 0
    live = sys.stdout.isatty()
    for line in process.stdout:
        last_lines.append(line)
        if line.startswith(("Collecting ", "Processing ")):
            count += 1
            if live:
                say(f"\r  {count} of {packages_count} packages", end="")
            elif count % 20 == 0:
                say(f"  {count} of {packages_count} packages")
        elif line.startswith("Installing collected packages") and packages_count:
            say(("\r" if live else "") + f"  {count} of {packages_count} packages fetched, installing")
    if process.wait() != 0:
        say("\n" + "".join(last_lines))
        sys.exit("The packages could not be installed; see above. With a network at hand, run the same command again.")


def locked_count() -> int:
    """Count the packages that the requirements pin, those for other systems included."""
    return sum("==" in line.split(";")[0] for line in REQUIREMENTS.read_text("utf-8").splitlines())


def main() -> None:
    """Make the environment, or say why not."""
    reason = unfit_reason()
    if "--fit" in sys.argv[1:]:
        if reason:
            say(reason)
        sys.exit(1 if reason else 0)
    if reason:
        sys.exit(reason)
    say(f"Making .venv with Python {sys.version.split()[0]}: about half a minute, once")
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, stdin=subprocess.DEVNULL)
    # No resolving: the lock is complete. A resolver may find a newer release for a requirement with an extra, such as
    # pydantic[email], refuse it for want of a hash, and so fail on the day when that release comes out.
    install(["--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)], locked_count())
    # No build isolation: hatchling is among the locked packages, so nothing unpinned is ever fetched.
    install(["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    check = [str(VENV / "bin" / "python"), "-m", "pip", "check", "--disable-pip-version-check"]
    if subprocess.run(check, check=False, stdin=subprocess.DEVNULL).returncode != 0:
        sys.exit("The requirements files do not hold all that pyproject.toml asks for: make lock")
    (VENV / "installed").touch()


if __name__ == "__main__":
    main()
