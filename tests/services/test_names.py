import pytest

from tests.conftest import Make
from tests.factories import EMAIL, PASSWORD, active, outbox_rows, user_row
from usersvc.core import Core
from usersvc.errors import InvalidEmail, InvalidUsername, UsernameTaken
from usersvc.services import registration
from usersvc.services.actor import Actor
from usersvc.services.names import parse_email, parse_username

KELVIN, DOTLESS_I, FULLWIDTH_E, SHARP_S = "\u212a", "\u0131", "\uff45", "\u00df"


@pytest.mark.parametrize(
    ("text", "email", "key"),
    [
        ("ada@example.org", "ada@example.org", "ada@example.org"),
        ("Ada.Lovelace@example.org", "Ada.Lovelace@example.org", "ada.lovelace@example.org"),
        ("ada@EXAMPLE.org", "ada@example.org", "ada@example.org"),
        ("ada+news@example.org", "ada+news@example.org", "ada+news@example.org"),
        ("o'hara_%x@example.org", "o'hara_%x@example.org", "o'hara_%x@example.org"),
        ("ada@bücher.de", "ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de"),
        ("ada@BÜCHER.de", "ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de"),
        ("ada@bu\u0308cher.de", "ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de"),
        ("ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de"),
    ],
)
def test_an_address_has_one_form_to_mail_to_and_one_to_compare(text: str, email: str, key: str) -> None:
    parsed = parse_email(text)
    assert (parsed.email, parsed.key) == (email, key)


@pytest.mark.parametrize(
    "text",
    [
        f"{KELVIN}@example.org",
        f"mi{KELVIN}e@example.org",
        f"m{DOTLESS_I}ke@example.org",
        f"{FULLWIDTH_E}va@example.org",
        "zo\u00eb@example.org",
        "zoe\u0308@example.org",
        f"stra{SHARP_S}e@example.org",
    ],
)
def test_a05_a_local_part_beyond_ascii_is_refused_so_that_look_alikes_cannot_collide(text: str) -> None:
    with pytest.raises(InvalidEmail):
        parse_email(text)


@pytest.mark.parametrize("domain", [f"boo{KELVIN}.org", "BOOK.org", "boo\uff4b.org"])
def test_a05_spellings_of_one_domain_are_one_key(domain: str) -> None:
    assert parse_email(f"ada@{domain}").key == "ada@book.org"


def test_a05_sharp_s_in_a_domain_is_not_confused_with_ss() -> None:
    assert parse_email(f"ada@fu{SHARP_S}ball.de").key != parse_email("ada@fussball.de").key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "ada@example",
        "ada@example..org",
        "ada@.example.org",
        "ada@example.org.",
        "ada@-example.org",
        ".ada@example.org",
        "ada.@example.org",
        "a@x.org, evil@x.org",
        "a@x.org,evil@x.org",
        "a@x.org;b@x.org",
        "a@x.org\r\nBcc: e@x.org",
        "a@x.org\n",
        "a@x.org\r",
        "a\n@x.org",
        '"a@x, b"@x.org',
        '"ada"@example.org',
        "<a@x.org>",
        "Ada <a@x.org>",
        "a@b@x.org",
        " ada@example.org",
        "ada@example.org ",
        "ada@example.org\t",
        "a da@example.org",
        "ada@exam ple.org",
        "ada\0@example.org",
        "ada@example.org\0",
        "ada@exa\0mple.org",
        "ada@[192.0.2.1]",
        "ada@192.0.2.1",
        "ada(comment)@example.org",
        "ada@example.org(comment)",
        "ada@example.org?bcc=evil@x.org",
        "ada%0d%0a@exa%mple.org",
        "a" * 250 + "@example.org",
        "ada@" + "a" * 64 + ".org",
        "ada@" + ".".join(["a" * 60] * 5) + ".org",
        "\ud800@example.org",
        "ada@\udcff.org",
        "ada@x.test",
        "ada@x.local",
    ],
)
def test_a07_what_is_not_exactly_one_plain_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidEmail):
        parse_email(text)


def test_a07_a_list_of_addresses_writes_nothing(core: Core, stranger: Actor) -> None:
    with pytest.raises(InvalidEmail):
        registration.register(core, email=f"{EMAIL}, evil@x.org", password=PASSWORD, actor=stranger)
    with pytest.raises(InvalidEmail):
        registration.resend_activation(core, email=f"{EMAIL}\r\nBcc: evil@x.org", actor=stranger)
    assert outbox_rows(core) == []


def test_a_refused_address_gives_a_reason_that_a_person_can_act_on() -> None:
    with pytest.raises(InvalidEmail, match="@-sign"):
        parse_email("ada.example.org")


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("ada@x.test", "ada@x.test"),
        ("ada@X.TEST", "ada@x.test"),
        ("ada@box.local", "ada@box.local"),
        ("ada@localhost", "ada@localhost"),
        ("ada@x.internal", "ada@x.internal"),
        ("ada@example.org", "ada@example.org"),
        ("ada@shop.com", "ada@shop.com"),
        ("ada@x.com.test", "ada@x.com.test"),
    ],
)
def test_special_domains_are_accepted_where_the_settings_say_so(text: str, email: str) -> None:
    assert parse_email(text, special_domains=True).email == email


@pytest.mark.parametrize(
    "text",
    ["ada@.test", "ada@x..test", "a@b@x.test", "ada@x.test, b@x.test", '"a"@x.test', "ada @x.test", "@test"],
)
def test_special_domains_are_checked_as_strictly_as_others(text: str) -> None:
    with pytest.raises(InvalidEmail):
        parse_email(text, special_domains=True)


def test_the_setting_for_special_domains_reaches_registration(make_core: Make, stranger: Actor) -> None:
    with pytest.raises(InvalidEmail):
        registration.register(make_core(), email="ada@box.test", password=PASSWORD, actor=stranger)
    account = active(make_core(registration__special_domains=True), "ada@box.test")
    assert account.email == "ada@box.test"


def test_spellings_of_one_address_are_one_account_that_keeps_its_first_form(
    core: Core, stranger: Actor
) -> None:
    for email in ("Ada@Example.org", "ada@example.org", "ADA@EXAMPLE.ORG"):
        registration.register(core, email=email, password=PASSWORD, actor=stranger)
    assert user_row(core, EMAIL).email == "Ada@example.org"
    assert {mail.address for mail in outbox_rows(core)} == {"Ada@example.org"}


@pytest.mark.parametrize(
    ("text", "username"),
    [
        ("ada", "ada"),
        ("Ada", "ada"),
        ("ADA.Lovelace", "ada.lovelace"),
        ("1ada", "1ada"),
        ("a-b_c.d", "a-b_c.d"),
        ("abc", "abc"),
        ("n" * 32, "n" * 32),
        ("0" * 31, "0" * 31),
    ],
)
def test_a_username_is_kept_in_lower_case(text: str, username: str) -> None:
    assert parse_username(text) == username


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab",
        "a" * 33,
        ".ada",
        "-ada",
        "_ada",
        "ada lovelace",
        "ada\n",
        "ada\0",
        "ad\ud800",
        "ada@example.org",
        "a/da",
        "http://x",
        "{{7*7}}",
        "<script>",
        "zo\u00eb",
        f"m{DOTLESS_I}ke",
        f"{FULLWIDTH_E}va",
        f"stra{SHARP_S}e",
        "\u0130stanbul",
        "12345678123456781234567812345678",
        "ABCDEF12ABCDEF12ABCDEF12ABCDEF12",
        "e2271ab3-1f2e-4e26-a37a-8a97bdddd852",
        "87cf9b211ff54cafae3f058f75792b4c",
    ],
)
def test_a_username_out_of_other_characters_or_like_an_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidUsername):
        parse_username(text)


def test_a05_a_username_with_a_look_alike_is_not_taken_for_another(core: Core, stranger: Actor) -> None:
    active(core, username="kate")
    with pytest.raises((InvalidUsername, UsernameTaken)):
        registration.register(
            core, email="b@example.org", password=PASSWORD, username=f"{KELVIN}ate", actor=stranger
        )
