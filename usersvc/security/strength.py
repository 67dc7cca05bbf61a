"""How easy a password is to guess: apart from passwords.py because zxcvbn's lists are slow to load."""

from zxcvbn import zxcvbn
from zxcvbn.matching import RANKED_DICTIONARIES

from usersvc.errors import WeakPassword

# zxcvbn's time grows with the square of the length, and it refuses more than 72 characters.
_SHOWN_TO_ZXCVBN = 72
_COMMON = RANKED_DICTIONARIES["passwords"]
_LEET = frozenset("4@8({[<369!1|0$5+7%2")
_MOST_LEET = 8


def check(password: str, *, names: list[str], min_score: int) -> None:
    """Raises WeakPassword with advice. `names` are words of the person, which count for little."""
    if password.lower() in _COMMON:
        raise WeakPassword("This is one of the most common passwords.")
    found = zxcvbn(  # type: ignore[no-untyped-call]
        _shown_to_zxcvbn(password), user_inputs=[*names, "usersvc"], max_length=_SHOWN_TO_ZXCVBN
    )
    if found["score"] >= min_score:
        return
    feedback = found["feedback"]
    advice = [feedback["warning"], *feedback["suggestions"]]
    sentences = [text.rstrip(".") + "." for text in advice if text]
    raise WeakPassword(" ".join(["This password is too easy to guess.", *sentences]))


def _shown_to_zxcvbn(password: str) -> str:
    """Its time doubles with every further kind of l33t character: beyond some, they are shown as others."""
    shown = password[:_SHOWN_TO_ZXCVBN]
    kinds = dict.fromkeys(character for character in shown if character in _LEET)
    return shown.translate({ord(character): "~" for character in list(kinds)[_MOST_LEET:]})
