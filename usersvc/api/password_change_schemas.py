"""What goes into a change of password without a session."""

from usersvc.api.schemas import Body, EmailText, PasswordText


class ReplacePasswordIn(Body):
    email: EmailText
    current_password: PasswordText
    new_password: PasswordText
