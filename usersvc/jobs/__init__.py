"""Huey: doorbell and clock. A task is three lines that call a service; nothing that matters is queued."""
