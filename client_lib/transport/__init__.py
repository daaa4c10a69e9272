"""The way to the server: requests over HTTP, frames over a WebSocket, and how both fail.

Owns connections, sessions, TLS and waiting between tries. Does not own what is sent, when it is sent again, or what the
answers mean: that is the engine's and the client's.
"""

from __future__ import annotations

from client_lib.transport.address import ServerAddress
from client_lib.transport.backoff import Backoff
from client_lib.transport.http import HttpTransport, Login
from client_lib.transport.stream import Connected, Disconnected, Received, Stream, StreamEvent

__all__ = [
    "Backoff",
    "Connected",
    "Disconnected",
    "HttpTransport",
    "Login",
    "Received",
    "ServerAddress",
    "Stream",
    "StreamEvent",
]
