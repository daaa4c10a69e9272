"""The client library: an account on one device, its chats, and bots.

Owns key exchange and encryption as an app sees them, the durable encrypted store, and the connection to the server. The
protocol is `crypto`'s, what goes over the wire is `protocol`'s. Start with `Client`; everything that it gives is here.
"""

from __future__ import annotations

from client_lib import events
from client_lib.bot import Bot
from client_lib.chats import Attachment, Chat, Message, Person
from client_lib.client import Client
from client_lib.errors import ClientError, ContentError, ServerError, StoreError, TransportError, TrustError
from client_lib.store import Status
from crypto.identity.accounts import generate_recovery_phrase

__all__ = [
    "Attachment",
    "Bot",
    "Chat",
    "Client",
    "ClientError",
    "ContentError",
    "Message",
    "Person",
    "ServerError",
    "Status",
    "StoreError",
    "TransportError",
    "TrustError",
    "events",
    "generate_recovery_phrase",
]
