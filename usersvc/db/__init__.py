"""Storage: engines, the schema, migrations. What differs between databases stays in here."""
