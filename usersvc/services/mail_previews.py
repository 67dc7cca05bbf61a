"""Mails looked at before anybody gets them: made of sample values, without a database."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from usersvc import logs
from usersvc.locales import LOCALES
from usersvc.mail.samples import SAMPLES
from usersvc.mail.templating import Mistake, Part, Templates
from usersvc.settings import Settings

KINDS = tuple(SAMPLES)


@dataclass(frozen=True)
class Preview:
    kind: str
    locale: str
    subject: str
    text: Part
    html: Part

    @property
    def mistakes(self) -> list[Mistake]:
        """Why a part is the built-in one, though there is another."""
        return list(dict.fromkeys(part.mistake for part in (self.text, self.html) if part.mistake))


def previews(settings: Settings, *, kinds: Iterable[str], locales: Iterable[str]) -> Iterator[Preview]:
    """Each of these kinds in each of these languages, as the templates are now."""
    templates, languages = Templates(settings.templates_dir), list(locales)
    for kind in kinds:
        for locale in languages:
            text, html = templates.parts(kind, SAMPLES[kind], locale=locale)
            yield Preview(kind, locale, text.subject, text, html)


def mistakes(settings: Settings) -> list[str]:
    """What is wrong in the operator's templates, as far as samples show it: FILE:LINE: what."""
    locales = LOCALES if settings.templates_dir else (settings.mail.default_locale,)
    found = [each for made in previews(settings, kinds=KINDS, locales=locales) for each in made.mistakes]
    return list(dict.fromkeys(logs.mask_text(str(mistake)) for mistake in found))
