"""The use cases: rules and transactions, one capability a file. No HTTP, no terminal, no queue."""
