"""Values to try the template of each kind with: those that it gets when a mail is sent, and no other."""

_HOST = {"host": "users.example.org"}
_LINK = _HOST | {
    "link": "https://users.example.org/activate?token=" + "Ab-_" * 10 + "xyz",
    "expires_at": "2030-01-03 03:04 UTC",
}

SAMPLES: dict[str, dict[str, str]] = {
    "activation": _LINK,
    "already_registered": _HOST,
    "invitation": _LINK,
    "activated": _LINK,
    "reactivated": _HOST,
    "deactivated": _HOST,
    "login_locked": _HOST,
    "password_reset": _LINK,
    "password_changed": _HOST,
    "session_ended": _HOST | {"device": "Firefox on Linux", "logged_in_at": "2030-01-01 10:00 UTC"},
    "deletion_scheduled": _HOST | {"due_at": "2030-01-15 10:00 UTC"},
    "deletion_cancelled": _HOST,
    "account_erased": _HOST,
    "test": _HOST,
}
