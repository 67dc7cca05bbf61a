"""What goes into changes of address, and into what a mailed link does about them."""

from usersvc.api.schemas import Body, EmailText, PasswordText, Text


class ChangeEmailIn(Body):
    email: EmailText
    password: PasswordText


class LinkIn(Body):
    token: Text
