"""The commands as documents: docs/cli.md and the man page docs/usersvc.1, written by `make reference`.

Both come from the commands' own docstrings and options, and from what is written by hand: the beginning of
docs/cli.md, before the mark, and the exit codes of docs/operations.md.
"""
