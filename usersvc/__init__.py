"""User management to plug into a project. See README.md."""

__version__ = "0.1.0"
