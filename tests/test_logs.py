"""Log lines: one each, with the request's id, and with nothing secret in them."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog

from usersvc import logs

JWT = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTk5In0.c2lnbmF0dXJl-_x"
LINK_TOKEN = "Zk3vQ9xLr7TnB1mWc5YdHs8GpJ2aEfUo4KiNtRqVbX0"
LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "huey", "alembic")
CONNECTIONS = "uvicorn.connections"


class Lines:
    """What was logged, in JSON form."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def start(self, **options: Any) -> None:
        logs.configure(**{"form": "json", "to": self.stream, **options})

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.split("\n")[:-1]]

    def one(self) -> dict[str, Any]:
        [line] = self.all()
        return line


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging into memory; afterwards logging is what it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {
        name: (found.handlers[:], found.propagate, found.level)
        for name in (*LIBRARIES, CONNECTIONS)
        if (found := logging.getLogger(name))
    }
    configured, configuration = structlog.is_configured(), dict(structlog.get_config())
    found = Lines()
    found.start()
    logs.clear_context()
    yield found
    logs.clear_context()
    root.handlers = handlers
    root.setLevel(level)
    for name, (its_handlers, propagate, its_level) in libraries.items():
        library = logging.getLogger(name)
        library.handlers, library.propagate = its_handlers, propagate
        library.setLevel(its_level)
    if configured:
        structlog.configure(**configuration)
    else:
        structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# -- form


def test_a_line_is_json_with_its_event_level_logger_time_and_all_values_there_are(lines: Lines) -> None:
    logs.get("usersvc.test").warning("something happened", count=3, ok=True, nothing=None, user="ada")
    line = lines.one()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "something happened",
        "level": "warning",
        "logger": "usersvc.test",
        "count": 3,
        "ok": True,
        "user": "ada",
    }


@pytest.mark.parametrize(
    "evil", ["\n", "\r\n", "\x1b[2J\x1b[31m", "\u2028", "\u2029", "\x85", "\0", "\ud800"]
)
def test_a67_a_line_stays_one_line_whatever_is_in_its_values(lines: Lines, evil: str) -> None:
    text = f'before{evil}{{"level":"error","event":"forged"}}'
    logs.get("usersvc.test").info(text, user_agent=text, nested={"inner": [text]})
    assert len(lines.text.splitlines()) == 1
    assert lines.text.isascii()
    assert lines.text.rstrip("\n").isprintable()
    line = lines.one()
    assert line["event"] == line["user_agent"] == line["nested"]["inner"][0] == text
    assert line["level"] == "info"


def test_a67_a_line_break_in_a_key_is_escaped_too(lines: Lines) -> None:
    logs.get("usersvc.test").info("event", **{"a\nkey\u2028": "value"})
    assert len(lines.text.splitlines()) == 1
    assert lines.one()["a\nkey\u2028"] == "value"


@pytest.mark.parametrize(
    "text", ["x" * 20_000, "a.b-" * 5_000, "eyJ-" * 5_000, "token=" * 3_000, "a@" * 10_000]
)
def test_a67_masking_takes_time_with_the_length_of_a_text_and_not_its_square(text: str) -> None:
    before = time.thread_time()
    logs.mask_text(text)
    assert time.thread_time() - before < 0.2


def test_a_traceback_is_in_the_line_and_not_on_lines_of_its_own(lines: Lines) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logs.get("usersvc.test").exception("it failed")
    assert "Traceback" in lines.one()["exception"]
    assert "ValueError: broken" in lines.one()["exception"]


def test_values_of_other_types_become_text_and_lose_no_line(lines: Lines) -> None:
    logs.get("usersvc.test").info("event", id=UUID(int=7), error=KeyError("gone"), many=(1, {"a"}))
    assert lines.one()["id"] == str(UUID(int=7))
    assert lines.one()["error"] == "'gone'"
    assert lines.one()["many"] == [1, "{'a'}"]


def test_a_mapping_with_keys_that_are_no_text_loses_no_line(
    lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.get("usersvc.test").info("event", counts={UUID(int=7): 1})
    assert "Logging error" not in capsys.readouterr().err
    assert lines.one()["counts"] == {str(UUID(int=7)): 1}


def test_the_form_follows_the_stream_unless_it_is_set(lines: Lines) -> None:
    for options, is_json in (
        ({"form": "auto", "to": lines.stream}, True),
        ({"form": "auto", "to": Terminal()}, False),
        ({"form": "json", "to": Terminal()}, True),
        ({"form": "console", "to": io.StringIO()}, False),
    ):
        lines.start(**options)
        logs.get("usersvc.test").info("which form")
        written = options["to"].getvalue()
        assert "which form" in written
        assert written.startswith("{") is is_json


def test_the_console_form_is_masked_too(lines: Lines) -> None:
    lines.start(form="console")
    try:
        raise ValueError("ada@example.org")
    except ValueError:
        logs.get("usersvc.test").exception(f"for ada@example.org with {JWT}", password="hunter2")
    assert "Traceback" in lines.text
    assert "a***@example.org" in lines.text
    for secret in ("ada@", JWT, "hunter2"):
        assert secret not in lines.text


def test_less_than_the_level_is_not_written(lines: Lines) -> None:
    lines.start(level="warning")
    logs.get("usersvc.test").info("quiet")
    logging.getLogger("library").info("quiet")
    logs.get("usersvc.test").warning("loud")
    logging.getLogger("library").warning("loud too")
    assert [line["event"] for line in lines.all()] == ["loud", "loud too"]


def test_configuring_again_replaces_and_does_not_double(lines: Lines) -> None:
    lines.start()
    lines.start()
    logs.get("usersvc.test").info("once")
    assert lines.one()["event"] == "once"


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_are_silent_at_info_and_heard_from_warning_up(lines: Lines, name: str) -> None:
    logging.getLogger(name).addHandler(logging.StreamHandler(lines.stream))
    lines.start(level="info")
    logging.getLogger(name).info("Started server process")
    logging.getLogger(name).warning("trouble")
    assert lines.one()["event"] == "trouble"


@pytest.mark.parametrize(("level", "heard"), [("info", ["broken"]), ("debug", ["garbage came", "broken"])])
def test_of_single_connections_only_errors_are_heard_above_debug(
    lines: Lines, level: str, heard: list[str]
) -> None:
    lines.start(level=level)
    logging.getLogger(CONNECTIONS).warning("garbage came")
    logging.getLogger(CONNECTIONS).error("broken")
    assert [line["event"] for line in lines.all()] == heard


def test_libraries_are_heard_at_debug(lines: Lines) -> None:
    lines.start(level="debug")
    logging.getLogger("uvicorn.error").debug("a detail")
    assert lines.one()["event"] == "a detail"


# -- the request's id


def test_the_request_id_is_in_every_line_until_the_context_is_cleared(lines: Lines) -> None:
    logs.bind_request("req-1")
    logs.get("usersvc.test").info("ours")
    logging.getLogger("library").warning("theirs")
    logs.clear_context()
    logs.get("usersvc.test").info("after")
    ours, theirs, after = lines.all()
    assert ours["request_id"] == theirs["request_id"] == "req-1"
    assert "request_id" not in after


# -- masking


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "new_password",
        "password_hash",
        "secret",
        "secret_key",
        "token",
        "refresh_token",
        "access_token",
        "token_digest",
        "authorization",
        "cookie",
        "set_cookie",
        "link",
        "activation_link",
        "nonce",
    ],
)
def test_a_value_is_masked_whole_where_its_key_names_a_secret(lines: Lines, key: str) -> None:
    logs.get("usersvc.test").info(
        "event", **{key: "open sesame", "nested": {"deeper": [{key: "open sesame"}]}, "kept": "kept"}
    )
    assert "sesame" not in lines.text
    line = lines.one()
    assert line[key] == line["nested"]["deeper"][0][key] == logs.MASK
    assert line["kept"] == "kept"


@pytest.mark.parametrize(
    "value", [b"open sesame", ["open sesame"], {"a": "open sesame"}, ValueError("sesame")]
)
def test_a_secret_is_masked_whatever_its_type(lines: Lines, value: object) -> None:
    logs.get("usersvc.test").info("event", password=value)
    assert "sesame" not in lines.text
    assert lines.one()["password"] == logs.MASK


def test_a_password_of_digits_is_masked_though_it_is_a_number(lines: Lines) -> None:
    logs.get("usersvc.test").info("event", body={"password": 837465192837})
    assert "837465192837" not in lines.text


@pytest.mark.parametrize("key", ["Authorization", "PASSWORD", "Cookie", "newPassword", "X-Auth-Token"])
def test_the_case_of_a_key_hides_no_secret_from_the_masking(lines: Lines, key: str) -> None:
    logs.get("usersvc.test").info("event", headers={key: "Basic YWRhOnNlc2FtZQ"})
    assert "YWRhOnNlc2FtZQ" not in lines.text


def test_ids_beside_secrets_stay_readable(lines: Lines) -> None:
    logs.get("usersvc.test").info(
        "event", link_id="0199-1", user_id="0199-2", kid="Zk3vQ9xLr7TnB1mW", status=200
    )
    line = lines.one()
    assert (line["link_id"], line["user_id"], line["status"]) == ("0199-1", "0199-2", 200)
    assert line["kid"] == "Zk3vQ9xLr7TnB1mW"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ada@example.org", "a***@example.org"),
        ("Ada.Lovelace+tag@mail.EXAMPLE.org wrote", "A***@mail.EXAMPLE.org wrote"),
        ("to <ada@example.org>, bob_2@example.net.", "to <a***@example.org>, b***@example.net."),
        ("mailto:ada%1@example.org", "mailto:a***@example.org"),
        ("no address: @example, a@ b, 3@4", "no address: @example, a@ b, 3@4"),
    ],
)
def test_full_addresses_are_shortened_in_texts(text: str, masked: str) -> None:
    assert logs.mask_text(text) == masked


@pytest.mark.parametrize(
    "address", ["ädä@example.org", "ada@exämple.org", "用户@例子.广告", "ada!@example.org"]
)
def test_addresses_beyond_ascii_letters_are_shortened_too(address: str) -> None:
    local, domain = address.split("@")
    masked = logs.mask_text(f"mail to {address} failed")
    assert address not in masked
    assert local not in masked
    assert domain in masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (JWT, "***"),
        (f"Authorization: Bearer {JWT}", "Authorization: ***"),
        (f"'{JWT}'", "'***'"),
        (JWT.rpartition(".")[0] + ".", "***"),
        (f"https://a.example/activate?token={LINK_TOKEN}", "https://a.example/activate?token=***"),
        ("https://a.example/x?a=1&Token=short&b=2", "https://a.example/x?a=1&Token=***&b=2"),
        ("refresh_token=abc&password=hunter2", "refresh_token=***&password=***"),
        ("client_secret='", "client_secret='"),
        (f"https://a.example/activate#{LINK_TOKEN}", "https://a.example/activate#***"),
        (f"https://a.example/activate/{LINK_TOKEN}/", "https://a.example/activate/***/"),
        (f"it was {LINK_TOKEN}.", "it was ***."),
        ("request 0199aa55-1b2c-7def-8a9b-0123456789ab", "request 0199aa55-1b2c-7def-8a9b-0123456789ab"),
        ("plain text, 200 OK, /users/me", "plain text, 200 OK, /users/me"),
    ],
)
def test_tokens_and_links_are_masked_in_texts(text: str, masked: str) -> None:
    assert logs.mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "input_value={'password': 'open sesame', 'email': 'x'}",
        '{"password": "open sesame"}',
        "password='open sesame'",
    ],
)
def test_a_password_is_masked_in_the_text_of_a_mapping_or_a_call(text: str) -> None:
    assert "sesame" not in logs.mask_text(text)


def test_the_event_itself_and_its_arguments_are_masked(lines: Lines) -> None:
    logs.get("usersvc.test").info("for ada@example.org")
    logs.get("usersvc.test").info("for %s", "ada@example.org")
    logs.get("usersvc.test").info({"password": "open sesame"})
    assert [line["event"] for line in lines.all()] == [
        "for a***@example.org",
        "for a***@example.org",
        {"password": "***"},
    ]


def test_texts_are_masked_at_any_depth(lines: Lines) -> None:
    logs.get("usersvc.test").info(
        "event",
        rows=[{"to": ("ada@example.org", {"deep": f"Bearer {JWT}"})}],
        error=ValueError("ada@example.org"),
    )
    line = lines.one()
    assert line["rows"] == [{"to": ["a***@example.org", {"deep": "Bearer ***"}]}]
    assert line["error"] == "a***@example.org"


def test_an_address_that_is_a_key_is_shortened_too(lines: Lines) -> None:
    logs.get("usersvc.test").info("event", mails={"ada@example.org": 2})
    assert "ada@example.org" not in lines.text


def _log_ours() -> None:
    logs.get("usersvc.test").exception("it failed")


def _log_theirs() -> None:
    logging.getLogger("library").exception("it failed")


@pytest.mark.parametrize("log", [_log_ours, _log_theirs])
def test_tracebacks_are_masked_with_their_causes(lines: Lines, log: Callable[[], None]) -> None:
    try:
        try:
            raise KeyError(f"token={LINK_TOKEN}")
        except KeyError as error:
            raise ValueError(f"ada@example.org sent {JWT}") from error
    except ValueError:
        log()
    for secret in (LINK_TOKEN, JWT, "ada@example.org"):
        assert secret not in lines.text
    found = lines.one()["exception"]
    assert "KeyError: 'token=***'" in found
    assert "ValueError: a***@example.org sent ***" in found


def test_lines_of_other_libraries_are_masked_and_in_the_same_form(lines: Lines) -> None:
    logging.getLogger("some.library").error("mail to %s: %s", "ada@example.org", f"?token={LINK_TOKEN}")
    line = lines.one()
    assert line["event"] == "mail to a***@example.org: ?token=***"
    assert (line["level"], line["logger"]) == ("error", "some.library")
    assert "timestamp" in line
