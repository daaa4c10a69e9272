"""What an operator can set: one environment variable for each setting, read once at start.

Limits are not settings; they are in `backend.limits` and `protocol.limits`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """A setting has a value that cannot be used. The text names the variable and says what it takes."""


def _variable(name: str, meaning: str) -> dict[str, str]:
    return {"variable": name, "meaning": meaning}


@dataclass(frozen=True, slots=True)
class Settings:
    """One server's settings. `Settings.from_environment()` reads them; each field's metadata names and explains it."""

    data_folder: Path = field(
        default=Path("sealdesk-data"),
        metadata=_variable(
            "SEALDESK_DATA",
            "Folder for everything the server keeps: the embedded database, attachments. Made if it is missing.",
        ),
    )
    database_url: str | None = field(
        default=None,
        repr=False,  # it may hold a password
        metadata=_variable(
            "DATABASE_URL",
            "Your own PostgreSQL (15 or newer), postgresql://user:password@host/name. Default: an embedded one.",
        ),
    )
    postgres_bin: Path | None = field(
        default=None,
        metadata=_variable(
            "SEALDESK_POSTGRES_BIN",
            "Folder with initdb and postgres for the embedded database. Default: those of the installation.",
        ),
    )
    host: str = field(default="127.0.0.1", metadata=_variable("SEALDESK_HOST", "Address to listen on."))
    port: int = field(default=8440, metadata=_variable("SEALDESK_PORT", "TCP port to listen on."))
    public_url: str | None = field(
        default=None,
        metadata=_variable(
            "SEALDESK_PUBLIC_URL",
            "The URL that clients use for this server; session signatures cover it. Default: http://HOST:PORT.",
        ),
    )
    attachments_url: str | None = field(
        default=None,
        metadata=_variable(
            "SEALDESK_ATTACHMENTS_URL",
            "Object store: file:///folder, s3://bucket/prefix, gs://, az://. Default: a folder in SEALDESK_DATA.",
        ),
    )
    stop_timeout_s: int = field(
        default=10,
        metadata=_variable("SEALDESK_STOP_TIMEOUT_S", "Seconds that a stopping server gives to what is under way."),
    )
    log_level: str = field(default="INFO", metadata=_variable("SEALDESK_LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR."))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every setting from `environment` (the process's own if not given). An empty value counts as not set.

        Raises `SettingsError`.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for setting in fields(cls):
            variable = setting.metadata["variable"]
            text = environment.get(variable, "")
            if text:
                values[setting.name] = _parse(variable, text, setting.name)
        return cls(**values)

    @property
    def url(self) -> str:
        """The server's public URL without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def _parse(variable: str, text: str, name: str) -> Any:
    if name in ("port", "stop_timeout_s"):
        highest = 65_535 if name == "port" else 3_600
        if not text.isdecimal() or not 0 < int(text) <= highest:
            raise SettingsError(f"{variable} takes a whole number from 1 to {highest}, not {text!r}")
        return int(text)
    if name in ("data_folder", "postgres_bin"):
        return Path(text)
    if name == "log_level":
        if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"{variable} takes DEBUG, INFO, WARNING or ERROR, not {text!r}")
        return text.upper()
    if name == "public_url" and not text.startswith(("http://", "https://")):
        raise SettingsError(f"{variable} takes a URL that starts with http:// or https://, not {text!r}")
    if name == "database_url" and not text.startswith(("postgresql://", "postgres://")):
        # The value is not repeated: it may hold a password.
        raise SettingsError(f"{variable} takes a URL that starts with postgresql://")
    return text
