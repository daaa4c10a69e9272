"""Where the server is, and how to reach it safely: URL rules and TLS."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from client_lib.errors import TransportError


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server's base URL, checked: `https`, or `http` to this machine only, so that no token crosses a wire bare."""

    url: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Check a URL as a person typed it. Raises TransportError, not retryable, with what to change."""
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise TransportError(f"{url!r} is not a URL: give the server's as https://HOST", retryable=False) from error
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
            raise TransportError(f"{url!r} is not a server's URL: give it as https://HOST", retryable=False)
        if parts.scheme == "http" and not _is_this_machine(host):
            raise TransportError(f"{url!r} would send the session in the clear: use https://{host}", retryable=False)
        shown = f"[{host}]" if ":" in host else host
        return cls(f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path.rstrip('/')}")

    @property
    def stream_url(self) -> str:
        """The WebSocket URL of the stream."""
        return "ws" + self.url.removeprefix("http") + "/v1/stream"

    def tls(self) -> ssl.SSLContext | None:
        """The TLS settings: certificates and host name are checked, always; None for plain http."""
        if not self.url.startswith("https:"):
            return None
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
