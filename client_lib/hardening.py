"""What a process that holds keys does for itself at its start."""

from __future__ import annotations

import sys


def forbid_core_dumps() -> None:
    """Let a crash write no core dump: it would hold keys and plaintext. For programs that own their process."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  # not there on Windows

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
