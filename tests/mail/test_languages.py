"""Every mail in every language: complete, of the same parts as in English, and no English left in it."""

import re
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from tests.factories import text_of
from tests.mail.test_messages import as_read, html_of, render
from usersvc.locales import LOCALES
from usersvc.mail.samples import SAMPLES
from usersvc.mail.templating import BUILT_IN

OTHERS = [locale for locale in LOCALES if locale != "en"]
FILES = [*SAMPLES, "mail"]
BODY_OF = {"hi": r"[\u0900-\u097f]", "zh-Hans": r"[\u4e00-\u9fff]"}
LETTER_OF_CHINA = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
ENGLISH = re.compile(
    r"\b(the|your|you|of|and|with|was|were|this|that|if|not|password|account|hello|login|device|"
    r"sent|address|nothing|choose|it|is|to|for)\b",
    re.IGNORECASE,
)
"""Words that no other language of ours writes alike."""


def source(locale: str, name: str) -> str:
    return (BUILT_IN / locale / f"{name}.jinja").read_text(encoding="utf-8")


def blocks(locale: str, name: str) -> dict[str, tuple[str, set[str]]]:
    """What each block says, and the values that it names."""
    tree = Environment(autoescape=True).parse(source(locale, name))
    return {
        block.name: (
            " ".join(data.data for data in block.find_all(nodes.TemplateData)).strip(),
            {value.name for value in block.find_all(nodes.Name)},
        )
        for block in tree.find_all(nodes.Block)
    }


def test_each_language_has_a_folder_with_every_kind_and_nothing_else() -> None:
    assert {path.name for path in BUILT_IN.iterdir() if path.is_dir()} == set(LOCALES)
    for locale in LOCALES:
        assert {path.name for path in (BUILT_IN / locale).iterdir()} == {f"{name}.jinja" for name in FILES}


@pytest.mark.parametrize("locale", OTHERS)
def test_each_says_what_the_english_says_with_the_same_values(locale: str) -> None:
    for name in FILES:
        english, own = blocks("en", name), blocks(locale, name)
        assert list(own) == list(english), f"{locale}/{name}.jinja has other blocks"
        for block, (text, values) in own.items():
            where = f"{locale}/{name}.jinja, block {block}"
            assert values == english[block][1], f"{where} names other values"
            if block == "colon":
                continue
            assert text != english[block][0], f"{where} is still English"
            assert not ENGLISH.search(text), f"{where} has English in it"
            assert re.search(BODY_OF.get(locale, r"[a-z]"), text), f"{where} is in other letters"


@pytest.mark.parametrize("locale", LOCALES)
def test_a_mail_is_in_its_language_and_arrives_as_it_was_written(locale: str) -> None:
    greeting, footer = blocks(locale, "mail")["greeting"][0], blocks(locale, "mail")["footer"][0]
    for kind, values in SAMPLES.items():
        message = as_read(render(kind, locale=locale))
        assert message["Content-Language"] == locale
        assert f'<html lang="{locale}">' in html_of(message)
        assert "users.example.org" in message["Subject"]
        assert message["Subject"] in html_of(message)
        assert message["Subject"] not in text_of(message)
        assert text_of(message).splitlines()[:2] == [greeting, ""]
        assert all(word in html_of(message) for word in footer.split())
        assert "\n" * 3 not in text_of(message).replace("\r", "")
        for value in values.values():
            assert value in text_of(message)
            assert value in html_of(message)


@pytest.mark.parametrize("locale", LOCALES)
def test_the_sentences_serve_text_and_html(locale: str) -> None:
    """They are escaped in neither: what HTML would take for a tag, a reader of the text would see."""
    for name in FILES:
        sentences = "".join(text for text, _ in blocks(locale, name).values())
        assert not re.search(r"[<>&]", sentences), f"{locale}/{name}.jinja"


def test_a_line_break_inside_a_chinese_sentence_would_be_a_gap_in_html() -> None:
    for name in FILES:
        assert not re.search(f"(?!。){LETTER_OF_CHINA}\n{LETTER_OF_CHINA}", source("zh-Hans", name))


def test_french_signs_never_begin_a_line() -> None:
    for name in FILES:
        for text, _ in blocks("fr", name).values():
            assert not re.search(r"[ \n][:;!?»]|«[ \n]", text), f"fr/{name}.jinja"


def test_a_language_of_ones_own_template_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "activation.txt").write_text("Welcome\n\nOpen {{ link }}\n")
    assert render(locale="de", templates=tmp_path)["Content-Language"] is None
    assert render("password_changed", locale="de", templates=tmp_path)["Content-Language"] == "de"


def test_a_template_for_one_language_goes_before_one_for_all(tmp_path: Path) -> None:
    (tmp_path / "de").mkdir()
    (tmp_path / "fr").mkdir()
    (tmp_path / "activation.txt").write_text("For all\n\nOpen {{ link }} ({{ locale }})\n")
    (tmp_path / "de" / "activation.txt").write_text("Nur Deutsch\n\nHier: {{ link }}\n")
    (tmp_path / "fr" / "mail.jinja").write_text(source("fr", "mail").replace("Bonjour,", "Salut !"))
    german, french = (render(locale=locale, templates=tmp_path) for locale in ("de", "fr"))
    assert german["Subject"] == "Nur Deutsch"
    assert html_of(german) == html_of(render(locale="de"))
    assert french["Subject"] == "For all"
    assert "(fr)" in text_of(french)
    assert "Salut !" in html_of(french)
