"""Bringing usersvc to what a file says: read, compared, then done by the use cases that everybody has."""
