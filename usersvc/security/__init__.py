"""Cryptography and its bounds: passwords, tokens, keys. Knows no database and no face."""
