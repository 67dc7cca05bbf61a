"""All SQL. Each repository is bound to one connection; rows go in and out as frozen dataclasses.

`by_x` returns None where there is nothing; a write whose WHERE repeats a condition returns whether
it found its row. Nothing here commits.
"""
