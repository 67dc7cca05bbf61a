"""Why a mail did not leave, as far as the outbox tells it apart; the texts are for a person."""


class NotSent(OSError):
    """Not now: nobody could be reached, or the server wants it later. Trying again can help."""


class MailRefused(Exception):
    """Never: the server refused this recipient or this message for good."""


class LoginRefused(Exception):
    """The server refused usersvc itself, not the mail: every other mail would meet the same."""
