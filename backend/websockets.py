"""uvicorn's WebSocket protocol, with a way to drop a peer that reads nothing.

A close frame, and closing the transport, wait until what is buffered is sent; to such a peer it never is.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class AbortableProtocol(WebSocketsSansIOProtocol):
    """Puts `abort` into the connection's state: drops the connection at once, with what is unsent."""

    def handle_connect(self, event: Any) -> None:
        """Let uvicorn make the scope, then add to it, before its task has started."""
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # none if the handshake was refused
        if scope is not None:
            scope["state"]["abort"] = self.transport.abort
