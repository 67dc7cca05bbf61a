"""Accept-Language as RFC 9110 writes it, and the language of ours that it wants most."""

import pytest

from usersvc.locales import LOCALES, known, negotiate

AS_BROWSERS_SEND = {
    "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7": "de",
    "en-GB,en;q=0.5": "en",
    "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5": "fr",
    "pt-BR,pt;q=0.9": "pt",
    "es-419": "es",
    "hi-IN,hi;q=0.9": "hi",
    "zh-CN,zh;q=0.9,en;q=0.8": "zh-Hans",
    "zh-Hans-CN": "zh-Hans",
    "zh-SG": "zh-Hans",
    "zh": "zh-Hans",
    "zh-Hans-TW": "zh-Hans",
}
BY_WEIGHT = {
    "en;q=0.1,de;q=0.2": "de",
    "en;q=0.8,de;q=0.8": "en",
    "it,en;q=0.5": "en",
    "de;q=0,fr;q=0.001": "fr",
    "de;q=0.000": None,
    "DE-at;Q=1.000": "de",
    " de ; q=0.3 ,\ten;q=0.4": "en",
    "zh-TW,en;q=0.5": "en",
    "zh-Hant-HK;q=0.9,zh-HK,de;q=0.1": "de",
    "zh-TW,zh;q=0.9": "zh-Hans",
    "it": None,
    "*": None,
    "deu": None,
    "": None,
}
HOSTILE = {
    "de;q=2,en;q=0.1": "en",
    "de;q=-1,en;q=0.1": "en",
    "de;q=nan,fr;q=inf,en;q=0.1": "en",
    "de;q=0.1234,en;q=0.1": "en",
    "de;q=\u0660.\u0665,en;q=0.1": "en",
    "de;x=y,en;q=0.1": "en",
    "d\x00e,de_DE,de--x,-de,en;q=0.1": "en",
    "; ,,;q=1,=,en": "en",
    "xx," * 31 + "de": "de",
    "xx," * 32 + "de": None,
    "a-" * 100_000: None,
    "," * 1_000_000 + "de": None,
    "de" + " " * 100_000 + "x": None,
}


@pytest.mark.parametrize(
    ("header", "wanted"),
    [*AS_BROWSERS_SEND.items(), *BY_WEIGHT.items(), *HOSTILE.items()],
    ids=lambda value: str(value)[:30],
)
def test_the_language_that_is_wanted_most(header: str, wanted: str | None) -> None:
    assert negotiate(header) == wanted


def test_only_tags_of_ours_are_known() -> None:
    assert [known(locale) for locale in LOCALES] == list(LOCALES)
    assert [known(other) for other in ("zh-hans", "it", "", None, 1, ["de"])] == [None] * 6
