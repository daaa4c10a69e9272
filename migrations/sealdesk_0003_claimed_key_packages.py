"""A key package that was given out keeps its row without its bytes, until it expires.

Claims look at the other rows only: so does their index.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Bytea
from piccolo.table import Table

ID = "2026-11-23T10:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "References of claimed key packages"

INDEX = "key_packages_device_id_number"
FORWARDS = (
    f"DROP INDEX {INDEX}",
    f"CREATE INDEX {INDEX} ON key_packages (device_id, number) WHERE NOT last_resort AND key_package IS NOT NULL",
)
BACKWARDS = (
    "DELETE FROM key_packages WHERE key_package IS NULL",
    f"DROP INDEX {INDEX}",
    f"CREATE INDEX {INDEX} ON key_packages (device_id, number) WHERE NOT last_resort",
)


class Raw(Table):
    """Only a handle for raw SQL."""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="backend", description=DESCRIPTION)

    async def run():
        for step in FORWARDS:
            await Raw.raw(step)

    async def run_backwards():
        for step in BACKWARDS:
            await Raw.raw(step)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    manager.alter_column(
        table_class_name="KeyPackages",
        tablename="key_packages",
        column_name="key_package",
        db_column_name="key_package",
        params={"null": True},
        old_params={"null": False},
        column_class=Bytea,
        old_column_class=Bytea,
        schema=None,
    )
    return manager
