"""Tells Piccolo which tables are ours and where their migrations lie."""

from __future__ import annotations

from pathlib import Path

from piccolo.conf.apps import AppConfig

from backend.tables import TABLES

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

APP_CONFIG = AppConfig(app_name="backend", migrations_folder_path=str(MIGRATIONS), table_classes=TABLES)
