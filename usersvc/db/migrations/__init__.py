"""Alembic's environment; each revision is a file in versions/, named by its number."""
