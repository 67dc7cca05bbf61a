"""The languages that usersvc speaks, by their tags (RFC 5646), and which of them a reader wants."""

import re
from typing import Literal, get_args

Locale = Literal["en", "de", "fr", "es", "pt", "hi", "zh-Hans"]

LOCALES: tuple[Locale, ...] = get_args(Locale)

# More than any browser sends; the rest of a longer header is not looked at.
_MOST_RANGES = 32
_RANGE = re.compile(
    r"[ \t]*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)[ \t]*"
    r"(?:;[ \t]*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
_TRADITIONAL = {"hant", "tw", "hk", "mo"}


def negotiate(accept_language: str) -> Locale | None:
    """The language of ours that an Accept-Language header wants most (RFC 9110); None where it wants none.

    A range stands for its language (`de-AT` is `de`), as RFC 4647 looks up; but traditional Chinese is none
    of ours. What is not well-formed, and `*`, says nothing.
    """
    wanted = [_RANGE.fullmatch(part) for part in accept_language.split(",", _MOST_RANGES)[:_MOST_RANGES]]
    weighed = [(float(found[2] or 1), found[1].lower()) for found in wanted if found]
    # Of the same weight, the first.
    weighed.sort(key=lambda each: -each[0])
    return next((ours for weight, tag in weighed if weight and (ours := _ours(tag))), None)


def known(locale: object) -> Locale | None:
    """The locale, where it is one of ours: a row may have it from a version that spoke more."""
    return next((ours for ours in LOCALES if ours == locale), None)


def _ours(tag: str) -> Locale | None:
    language, *rest = tag.split("-")
    if language == "zh":
        traditional = "hans" not in rest and not _TRADITIONAL.isdisjoint(rest)
        return None if traditional else "zh-Hans"
    return known(language)
