"""Runs one parsed command, and turns however it ends into an exit code and at most one line."""

from __future__ import annotations

import asyncio
import importlib
import os
import traceback
from argparse import Namespace
from pathlib import Path
from typing import Any

from client_lib import ClientError, StoreError, TransportError, TrustError
from client_lib.hardening import forbid_core_dumps
from sealdesk_cli import output
from sealdesk_cli.errors import CommandError, Exit


def run(options: Namespace) -> int:
    """Run `options.run`, which is `module:function`; only that module is imported."""
    output.prepare()
    forbid_core_dumps()
    try:
        _call(options)
    except BrokenPipeError:
        raise  # not a bug: `errors.while_read` ends the program
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except (CommandError, ClientError) as error:
        return _explain(str(error), _exit_code(error))
    except Exception as error:  # noqa: BLE001  a bug of ours: one line for people, the rest on request
        return _explain(_bug(error), Exit.BUG)
    return Exit.OK


def _call(options: Namespace) -> None:
    module, _, function = options.run.partition(":")
    run: Any = getattr(importlib.import_module(f"sealdesk_cli.{module}"), function)
    if asyncio.iscoroutinefunction(run):
        asyncio.run(run(options))
    else:
        run(options)


def _exit_code(error: CommandError | ClientError) -> Exit:
    match error:
        case CommandError():
            return error.code
        case TransportError(retryable=True):
            return Exit.UNREACHABLE
        case StoreError():
            return Exit.STORE
        case TrustError():
            return Exit.TRUST
        case _:
            return Exit.FAILED


def _explain(text: str, code: Exit) -> Exit:
    if os.environ.get("SEALDESK_DEBUG") == "1":
        traceback.print_exc()
    output.complain(text)
    return code


def _bug(error: Exception) -> str:
    # Where, and not what: the text of a foreign exception may hold anything, a message included.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    return f"a fault in Sealdesk ({place}): please report it with what SEALDESK_DEBUG=1 shows"
