"""Every error that `client_lib` raises, sorted by what the caller should do.

::

    ClientError
    ├── ContentError            drop the message content: it is not valid; keep the rest
    ├── TransportError          the server was not reached; retry if `retryable`, nothing is known to have changed
    ├── ServerError             the server refused; `code` says why, and changed nothing
    ├── StoreError              the store is locked, unreadable or full; nothing was written
    └── TrustError              a person, a device or the server is not what it claims to be; tell the user

Each text is one line that says what to do next. None holds a key, a passphrase, a token or a message's text.
"""

from __future__ import annotations

from protocol.codes import Code


class ClientError(Exception):
    """Base of everything that `client_lib` raises on purpose."""


class ContentError(ClientError):
    """The bytes are not valid message content (draft-ietf-mimi-content); drop them."""


class TransportError(ClientError):
    """The server could not be reached, or broke off. `retryable`: the same request may succeed later, unchanged."""

    def __init__(self, text: str, *, retryable: bool = True) -> None:
        super().__init__(text)
        self.retryable = retryable


class ServerError(ClientError):
    """The server refused and changed nothing. Branch on `code`; `status` is the HTTP status, `detail` is for people.

    `head` is the chat's newest position where a newer log is the reason (`stale_epoch`), else None.
    """

    def __init__(self, code: Code, status: int, detail: str, head: int | None = None) -> None:
        # The text is the server's: it may not break the line or steer a terminal.
        plain = "".join(character if character.isprintable() else " " for character in detail)
        super().__init__(f"the server refused ({code}): {plain}")
        self.code = code
        self.status = status
        self.detail = plain
        self.head = head


class StoreError(ClientError):
    """The store cannot be opened, read or written. Nothing of the transaction that raised it was kept."""


class TrustError(ClientError):
    """A signature, certificate or history does not hold: do not go on without the user."""
