"""Become PostgreSQL: drop root, ask the kernel to end us with our parent, then exec.

Run as `python -I postgres_child.py USER_ID GROUP_ID PARENT_PID COMMAND ...`; `-` for the ids keeps the user. A small
program of its own, because code between fork and exec in a process with threads can deadlock. It imports nothing of
ours: the new user may not be able to read our folders.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replace this process by `arguments[3:]`."""
    user, group, parent, *command = arguments
    if user != "-":
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    if sys.platform == "linux":
        # After setuid, which clears it. SIGINT is PostgreSQL's fast shutdown: it ends cleanly although we were killed.
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != int(parent):  # it died before we could ask
            raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell, and the caller named the absolute path


if __name__ == "__main__":
    main(sys.argv[1:])
