"""Bodies in the form of HTML's forms: urlencoded alone, and small."""

from urllib.parse import parse_qs

from fastapi import Request

MEDIA_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


class NotAForm(ValueError):
    """Another media type, or no text."""


async def read_form(request: Request) -> dict[str, list[str]]:
    """The values of each field, also the empty ones. Raises NotAForm."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise NotAForm(f"Send a form, with Content-Type: {MEDIA_TYPE}.")
    try:
        text = (await request.body()).decode("ascii")
        return parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise NotAForm(f"This is no form of at most {_MOST_FIELDS} fields in UTF-8.") from None
