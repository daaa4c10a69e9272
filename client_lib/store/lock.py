"""One writer per store: a lock that the operating system gives back when its holder dies, by kill -9 too.

Two processes on one store would use the same message keys twice. SQLite's own lock is not enough for that: POSIX record
locks are dropped as soon as any code of the process opens and closes the same file, a backup copy for example. So the
lock is `flock` on a sibling file, `<store>.lock`, which nobody else has a reason to open. Where there is no `flock`
(Windows), locks belong to the handle and SQLite's exclusive lock, which is taken everywhere, does it alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from client_lib.errors import StoreError

if sys.platform != "win32":
    import fcntl


class StoreLock:
    """The right to use a store, from construction to `release`. Raises StoreError if another process has it."""

    def __init__(self, store: Path) -> None:
        path = store.with_name(store.name + ".lock")
        try:
            # Never deleted: a second process could lock the deleted file while a third makes a new one.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"cannot use the folder of {store}: {error.strerror} ({path.name})") from error
        try:
            self._take(store)
        except StoreError:
            os.close(self._descriptor)
            raise

    def _take(self, store: Path) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
                process = f"process {holder}" if holder.isdigit() else "another process"
                raise StoreError(
                    f"{store} is in use by {process}, one at a time may use it: stop that one (Ctrl-C) and try again"
                ) from error
            except OSError as error:
                raise StoreError(f"cannot lock {store}: {error.strerror}; keep it on a local disk") from error
            try:
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, b"%d\n" % os.getpid())
            except OSError as error:
                raise StoreError(f"cannot use the folder of {store}: {error.strerror}") from error

    def release(self) -> None:
        """Let others have the store. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
