"""What Alembic runs: every pending revision in one transaction, on the connection handed in."""

from alembic import context

from usersvc.db.models import metadata


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Huey makes tables of its own beside ours where PostgreSQL is the queue too."""
    return kind != "table" or not (name or "").startswith("huey_")


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        include_name=is_ours,
        render_as_batch=connection.dialect.name == "sqlite",
        # SQLite's DDL is transactional once the driver leaves BEGIN to us (see db/sqlite.py).
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
