"""The way that mail takes, without sending any, and the templates it is made from."""

from datetime import timedelta

from usersvc.core import Core
from usersvc.mail.errors import LoginRefused
from usersvc.services import mail_previews
from usersvc.services.checks.finding import Verdict, duration, failed, ok, warning

_ENDS_SOON = timedelta(days=14)


def transport(core: Core) -> Verdict:
    try:
        route = core.transport.check()
    except LoginRefused as error:
        return failed(str(error), "Mend mail.smtp_username and mail.smtp_password; restart usersvc then.")
    except OSError as error:
        return failed(str(error), _remedy(core))
    if route.certificate_until is None:
        return ok(route.where)
    left = route.certificate_until - core.clock.now()
    if left < _ENDS_SOON:
        return warning(
            f"{route.where}: its certificate ends in {duration(left)}",
            "Have it renewed: usersvc gives no mail to a server whose certificate has ended.",
        )
    return ok(f"{route.where}, certificate good for {duration(left)}")


def _remedy(core: Core) -> str:
    if core.settings.mail.transport != "smtp":
        return f"Make {core.settings.mail_dir} writable for this user."
    return (
        "Compare mail.smtp_host, mail.smtp_port, mail.smtp_security and mail.smtp_ca_file "
        "with what the mail server offers."
    )


def templates(core: Core) -> Verdict:
    folder = core.settings.templates_dir
    found = mail_previews.mistakes(core.settings)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return warning(
            f"{found[0]}{more}",
            f"Mend the templates in {folder}; until then such mails are made from the built-in ones.",
        )
    return ok(f"every kind can be made, {f'with those in {folder}' if folder else 'with the built-in ones'}")
