"""Logs: event names, counts and durations, one line each, `key=value`. No identifiers, no bodies, no exception texts.

Our own lines come from `event`. What libraries log is reduced to their name and level, except for uvicorn's lines about
starting and stopping; an exception, theirs or ours, is reduced to its class and the place in the code.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

_OURS: Final = "backend"


def event(logger: logging.Logger, name: str, /, *, level: int = logging.INFO, **fields: float | str) -> None:
    """Log one event. `fields` are counts, durations (`_ms`) and names of our own; never an id or anybody's text."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"fields": fields})


def where(error: BaseException) -> str:
    """The innermost place of an exception's traceback, and the innermost one in our code: `file:line<file:line`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"/{_OURS}/" in frame.filename]
    places = dict.fromkeys(f"{Path(f.filename).name}:{f.lineno}" for f in (*frames[-1:], *ours[-1:]))
    return "<".join(places) or "unknown"


class EventFormatter(logging.Formatter):
    """`time level event key=value ...`, UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for one record."""
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        if record.name.partition(".")[0] == _OURS:
            name = str(record.msg)
        elif record.name.startswith("uvicorn") and not record.exc_info and record.levelno < logging.ERROR:
            name, fields["text"] = "uvicorn", record.getMessage()
        else:
            name, fields["logger"] = "library", record.name
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields |= {"error": type(error).__name__, "where": where(error)}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        words = [f"{stamp}.{int(record.msecs):03d}Z", record.levelname.lower(), name]
        return " ".join([*words, *(f"{key}={_value(value)}" for key, value in fields.items())])


def configure(level: str) -> None:
    """Send everything to standard error in our format. Call once, in a process that is ours."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(level)
    # INFO of uvicorn's names clients' addresses.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    text = str(value)
    return repr(text) if not text or any(c.isspace() for c in text) else text
