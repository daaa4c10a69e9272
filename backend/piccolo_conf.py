"""Piccolo's configuration: `PICCOLO_CONF=backend.piccolo_conf piccolo migrations ...` with DATABASE_URL set.

The engine's address is filled in when the server starts (`backend.database`).
"""

from __future__ import annotations

import os

from piccolo.conf.apps import AppRegistry
from piccolo.engine.postgres import PostgresEngine


class LateEngine(PostgresEngine):
    """An engine whose making does not connect: the address is not known when this module is imported."""

    async def check_version(self) -> None:
        """Do nothing; migrations fail clearly on a PostgreSQL that is too old."""


DB = LateEngine(config={"dsn": os.environ.get("DATABASE_URL", "")})
APP_REGISTRY = AppRegistry(apps=["backend.piccolo_app"])
