"""Logging through structlog, for our own lines and those of the libraries; masked in one place.

Whatever a caller hands in, no password, token, link or full address leaves the process by a log
line: keys that name a secret are masked whole, and texts are searched for what looks like one.
"""

import logging
import math
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO

import structlog

MASK = "***"
# uvicorn's lines about single connections.
OF_CONNECTIONS = "uvicorn.connections"
_MOST_CHARACTERS, _MOST_OF_A_TRACEBACK = 2_000, 20_000
_SECRET_KEY = re.compile(
    r"password|secret|token|authorization|cookie|link(?!_id)|digest|nonce", re.IGNORECASE
)
_EDGE = r"""\s@<>"',;:()\[\]=/\\"""
_ADDRESS = re.compile(rf"(?<![^{_EDGE}])([^{_EDGE}])[^{_EDGE}]*@([^{_EDGE}]+\.[^{_EDGE}]+)")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*")
_NAMED = re.compile(
    r"""((?:password|secret|token|authorization)["']?\s*[=:]\s*)"""
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:bearer |basic )?[^\s&,;"']+)""",
    re.IGNORECASE,
)
_HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
# The length of a link token, and of a secret key that was made here.
_SECRET_TEXT = re.compile(r"(?<![\w-])(?:[A-Za-z0-9_-]{43}|[A-Za-z0-9_-]{64})(?![\w-])")
# Shorter than a secret, and without what an address, a hash or a named value has: most of what is logged.
_PLAIN = re.compile(r"[A-Za-z0-9/._-]{0,42}")

Event = MutableMapping[str, Any]
Form = Literal["auto", "json", "console"]


def mask_text(text: str) -> str:
    """Hide tokens and shorten addresses: `ada@example.org` becomes `a***@example.org`."""
    if _PLAIN.fullmatch(text) and "eyJ" not in text:
        return text
    text = _NAMED.sub(rf"\1{MASK}", text)
    text = _JWT.sub(MASK, text)
    text = _HASH.sub(MASK, text)
    text = _SECRET_TEXT.sub(MASK, text)
    return _ADDRESS.sub(rf"\1{MASK}@\2", text)


def printable(text: str) -> str:
    """One line that can do nothing to a terminal: no controls (C1 too), no marks that turn the direction."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text)} characters)"


def _masked(key: str, value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case _ if _SECRET_KEY.search(key):
            return MASK
        case int() | float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {mask_text(str(inner)): _masked(str(inner), item) for inner, item in value.items()}
        case list() | tuple():
            return [_masked(key, item) for item in value]
        case _:
            most = _MOST_OF_A_TRACEBACK if key == "exception" else _MOST_CHARACTERS
            return mask_text(_cut(str(value), most))


def _mask(_logger: Any, _method: str, event: Event) -> Event:
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _for_a_terminal(_logger: Any, _method: str, event: Event) -> Event:
    """Shorter, and what a person looks for first."""
    event.pop("logger", None)
    event["timestamp"] = event["timestamp"][11:19]
    for key, value in event.items():
        if isinstance(value, str) and key != "exception":
            event[key] = value if value.isprintable() else value.encode("unicode_escape").decode()
    if "request_id" in event:
        event["request_id"] = event.pop("request_id")[:8]
    return event


def _without_nothing(_logger: Any, _method: str, event: Event) -> Event:
    return {key: value for key, value in event.items() if value is not None}


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
]


def is_console(form: Form, to: TextIO | None = None) -> bool:
    """Whether lines to `to` (stderr) are for people; else they are JSON."""
    return form == "console" or (form == "auto" and (to or sys.stderr).isatty())


def configure(*, level: str = "info", form: Form = "auto", to: TextIO | None = None) -> None:
    """Send every log line of the process to `to` (stderr); `auto` is console form on a terminal."""
    stream = to or sys.stderr
    renderers: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer(ensure_ascii=True)]
    if is_console(form, stream):
        pretty = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=14, sort_keys=False)
        renderers = [_for_a_terminal, pretty]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Tracebacks become text before the masking, which then searches them too.
                structlog.processors.format_exc_info,
                _without_nothing,
                _mask,
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # One line a request is ours to write; start and stop lines of the libraries are noise at info.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "huey", "alembic"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
        library.setLevel("WARNING" if level != "debug" else "DEBUG")
    # What uvicorn warns of there is what strangers send; our refusals answer it.
    logging.getLogger(OF_CONNECTIONS).setLevel("ERROR" if level != "debug" else "DEBUG")


def tells_info() -> bool:
    """Whether such lines are written; to ask first is cheaper than to have one made and dropped."""
    return logging.getLogger().isEnabledFor(logging.INFO)


def get(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bind_request(request_id: str) -> None:
    """Give every line of this context (and of the threads it enters) the request id."""
    structlog.contextvars.bind_contextvars(request_id=request_id)


def current_request() -> str | None:
    """The request that this context works for; None where it works for none."""
    request_id: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return request_id


@contextmanager
def for_request(request_id: str | None) -> Iterator[None]:
    """What happens in here, in a job, belongs to a request that was answered before."""
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield


def clear_context() -> None:
    structlog.contextvars.clear_contextvars()
