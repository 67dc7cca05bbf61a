"""The languages that usersvc speaks, by their tags (RFC 5646)."""

from typing import Literal, get_args

Locale = Literal["en", "de", "fr", "es", "pt", "hi", "zh-Hans"]

LOCALES: tuple[str, ...] = get_args(Locale)
