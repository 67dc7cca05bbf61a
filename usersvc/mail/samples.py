"""Values to try the template of each kind with: those that it gets when a mail is sent, and no other."""

_HOST = {"host": "users.example.org"}


def _link(page: str) -> dict[str, str]:
    link = f"https://users.example.org/{page}?token={'Ab-_' * 10}xyz"
    return _HOST | {"link": link, "expires_at": "2030-01-03 03:04 UTC"}


SAMPLES: dict[str, dict[str, str]] = {
    "activation": _link("activate"),
    "already_registered": _HOST,
    "invitation": _link("reset-password"),
    "activated": _link("reset-password"),
    "reactivated": _HOST,
    "deactivated": _HOST,
    "login_locked": _HOST,
    "password_reset": _link("reset-password"),
    "password_changed": _HOST,
    "session_ended": _HOST | {"device": "Firefox (Linux)", "logged_in_at": "2030-01-01 10:00 UTC"},
    "deletion_scheduled": _HOST | {"due_at": "2030-01-15 10:00 UTC"},
    "deletion_cancelled": _HOST,
    "account_erased": _HOST,
    "email_change": _link("confirm-email"),
    "email_changed": _link("restore-email") | {"new_address": "a***@example.org"},
    "new_login": _link("end-session")
    | {"device": "Firefox (Linux)", "ip": "192.0.2.1", "logged_in_at": "2030-01-01 10:00 UTC"},
    "test": _HOST,
}
