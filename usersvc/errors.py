"""Every domain error: a fact for a name, a stable code, one of seven kinds.

No face is known here. The API maps a kind to a status, the CLI maps it to an exit code, each in
one place. `CODES` is the closed list of codes that the domain can answer with.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple


class Kind(StrEnum):
    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"


CODES: dict[str, type["DomainError"]] = {}


class FieldProblem(NamedTuple):
    field: str
    """Where, with dots between the names."""
    message: str
    """What is expected there; never what was sent."""


class DomainError(Exception):
    """A fact that ends a use case. `message` is for a person and holds no secret."""

    kind: ClassVar[Kind]
    code: ClassVar[str]
    message: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()
            CODES[cls.code] = cls

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: int | None = None,
        fields: Sequence[FieldProblem] = (),
    ) -> None:
        super().__init__(message or self.message)
        self.retry_after = retry_after
        """Seconds after which trying again can succeed; None where waiting does not help."""
        self.fields = fields
        """What exactly is wrong in what was sent, where that has parts."""


class Misconfigured(Exception):
    """What is wrong with the settings, a line a mistake; nothing was started or changed."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class KeepWrites(Exception):
    """Raised inside `core.write()`: commit what was written, then raise `error`."""

    def __init__(self, error: DomainError) -> None:
        super().__init__(error)
        self.error = error


# -- invalid: what was asked for cannot be


class InvalidEmail(DomainError):
    kind = Kind.INVALID
    message = "This is not an e-mail address we can use."


class InvalidUsername(DomainError):
    kind = Kind.INVALID
    message = (
        "A username has 3 to 32 characters out of a-z, 0-9, dot, underscore and hyphen, "
        "begins with a letter or digit, and is not a UUID."
    )


class InvalidPermission(DomainError):
    kind = Kind.INVALID
    message = (
        "A permission is two words with a colon between them, like orders:write; "
        "each has 1 to 32 characters out of a-z, 0-9, dot, underscore and hyphen, "
        "and begins with a letter or digit."
    )


class ReservedPermission(DomainError):
    kind = Kind.INVALID
    message = "This permission is reserved: usersvc itself grants it, by a role, or may one day."


class InvalidWebhook(DomainError):
    kind = Kind.INVALID
    message = "Webhooks cannot be sent there."


class InvalidGroup(DomainError):
    kind = Kind.INVALID
    message = (
        "A group's name has 1 to 32 characters out of a-z, 0-9, dot, underscore and hyphen, and begins "
        "with a letter or digit; its description has at most 200 characters."
    )


class WeakPassword(DomainError):
    kind = Kind.INVALID
    message = "This password is too easy to guess."


class InvalidLink(DomainError):
    kind = Kind.INVALID
    message = "This link is not valid: it is unknown, was used already, or has expired."


class InvalidCursor(DomainError):
    kind = Kind.INVALID
    message = "This cursor does not belong to this list: begin at the first page again."


class InvalidServiceName(DomainError):
    kind = Kind.INVALID
    message = (
        "The name of a service has 1 to 64 characters out of a-z, 0-9, dot, underscore and hyphen, "
        "begins with a letter or digit, and is not a UUID."
    )


class InvalidDescription(DomainError):
    kind = Kind.INVALID
    message = "A description has at most 200 characters, on one line."


class InvalidScope(DomainError):
    kind = Kind.INVALID
    message = "This service may not have all that the scope names."


class UnknownAudience(DomainError):
    kind = Kind.INVALID
    message = "There is no such audience: the setting tokens.audiences names them."


class InvalidProfile(DomainError):
    kind = Kind.INVALID
    message = "This profile does not fit what is kept here."


class InvalidAttributes(DomainError):
    kind = Kind.INVALID
    message = "These attributes do not fit what is kept here."


class PasswordRequired(DomainError):
    kind = Kind.INVALID
    message = "Choose a password together with this link; the link stays valid."


class NoBackup(DomainError):
    kind = Kind.INVALID
    message = "This file is no backup of usersvc."


class NewSecretMissing(DomainError):
    kind = Kind.INVALID
    message = (
        "The secret key comes from the settings: name a file with the new one, and set it there afterwards."
    )


class NewSecretUnfit(DomainError):
    kind = Kind.INVALID
    message = "The new secret key cannot be used."


# -- unauthenticated: we do not know who asks


class InvalidCredentials(DomainError):
    kind = Kind.UNAUTHENTICATED
    message = "Wrong e-mail or password, or the account is not activated yet."


class InvalidClient(DomainError):
    kind = Kind.UNAUTHENTICATED
    message = "There is no such client, or this is not its secret."


class InvalidToken(DomainError):
    kind = Kind.UNAUTHENTICATED
    message = "This token is not valid here."


class TokenExpired(DomainError):
    kind = Kind.UNAUTHENTICATED
    message = "This token has expired."


class TokenReused(DomainError):
    kind = Kind.UNAUTHENTICATED
    message = "This refresh token was used before, so its session has been ended."


class SessionEnded(DomainError):
    kind = Kind.UNAUTHENTICATED
    message = "This session has ended."


# -- forbidden: we know who asks, and he may not


class Forbidden(DomainError):
    kind = Kind.FORBIDDEN
    message = "You may not do this."


class MayNotRevoke(DomainError):
    kind = Kind.FORBIDDEN
    message = "This client may not revoke this token."


class AccountDeactivated(DomainError):
    kind = Kind.FORBIDDEN
    message = "This account is deactivated."


class AccountNotActivated(DomainError):
    kind = Kind.FORBIDDEN
    message = "This account is not activated yet: open the link in the mail."


class WrongPassword(DomainError):
    kind = Kind.FORBIDDEN
    message = "The current password is wrong."


class RegistrationClosed(DomainError):
    kind = Kind.FORBIDDEN
    message = "Registration is closed."


# -- not found


class UserNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "There is no such user."


class GroupNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "There is no such group."


class SessionNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "You have no such session."


class ServiceNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "There is no such service."


class CredentialNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "This service has no such credential that could be revoked."


class MailNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "There is no such mail in the outbox."


class KeyNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "There is no such key."


class WebhookNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "There is no such webhook."


class DeliveryNotFound(DomainError):
    kind = Kind.NOT_FOUND
    message = "There is no such delivery."


# -- conflict: it would be possible, but not as things stand


class EmailTaken(DomainError):
    kind = Kind.CONFLICT
    message = "There is an account with this e-mail address."


class UsernameTaken(DomainError):
    kind = Kind.CONFLICT
    message = "This username is taken."


class ServiceNameTaken(DomainError):
    kind = Kind.CONFLICT
    message = "There is a service with this name."


class TooManyCredentials(DomainError):
    kind = Kind.CONFLICT
    message = "This service has three credentials that work: revoke one, or wait until one has expired."


class GroupNameTaken(DomainError):
    kind = Kind.CONFLICT
    message = "There is a group with this name."


class TooManyGroups(DomainError):
    kind = Kind.CONFLICT
    message = "There are as many groups as there may be: 1,000 in all, 50 that one account is in."


class TooManyPermissions(DomainError):
    kind = Kind.CONFLICT
    message = "A group has at most 100 permissions."


class TokenTooLarge(DomainError):
    kind = Kind.CONFLICT
    message = (
        "The access token of a member would get too large: the names of the groups that one account is in, "
        "and their permissions, take at most 4 KiB."
    )


class MailNotGivenUp(DomainError):
    kind = Kind.CONFLICT
    message = "This mail was not given up, so there is nothing to try again."


class DatabaseNotEmpty(DomainError):
    kind = Kind.CONFLICT
    message = "The database to copy into holds something already."


class RowRefused(DomainError):
    kind = Kind.CONFLICT
    message = "The database to copy into refuses a row."


class CopyDiffers(DomainError):
    kind = Kind.CONFLICT
    message = "The copy is not what was copied."


class BackupExists(DomainError):
    kind = Kind.CONFLICT
    message = "There is a file of this name already."


class BackupRunning(DomainError):
    kind = Kind.CONFLICT
    message = "Another backup is being written to this file."


class BackupUnfit(DomainError):
    kind = Kind.CONFLICT
    message = "This backup cannot be restored."


class DatabaseInUse(DomainError):
    kind = Kind.CONFLICT
    message = "Something uses the database: stop every `usersvc serve` and `usersvc worker` first."


class DeliveryNotGivenUp(DomainError):
    kind = Kind.CONFLICT
    message = "This delivery was not given up."


class NotActive(DomainError):
    kind = Kind.CONFLICT
    message = "This account is not active."


class OwnAccount(DomainError):
    kind = Kind.CONFLICT
    message = "You cannot do this to your own account."


class NoLongerMatches(DomainError):
    kind = Kind.CONFLICT
    message = "This account is not one of those that were asked for any more."


class SomeRefused(DomainError):
    kind = Kind.CONFLICT
    message = "Some accounts were refused."


class LastAdmin(DomainError):
    kind = Kind.CONFLICT
    message = "This is the last active administrator: make another one first."


class RotationPending(DomainError):
    kind = Kind.CONFLICT
    message = "The next key waits already to sign."


class KeyRefused(DomainError):
    kind = Kind.CONFLICT
    message = "This key was retired already: nothing that it signed is good."


class KeysChanged(DomainError):
    kind = Kind.CONFLICT
    message = "Somebody else changed the keys or the secret key meanwhile: look, and try again."


# -- throttled: too often


class TooManyAttempts(DomainError):
    kind = Kind.THROTTLED
    message = "Too many attempts from here; try again later."


class LoginLocked(DomainError):
    kind = Kind.THROTTLED
    message = "Too many failed logins: this account is locked until its password is reset by mail."


# -- unavailable: try again later, or call the operator


class Overloaded(DomainError):
    kind = Kind.UNAVAILABLE
    message = "Too much to do right now; try again shortly."


class DatabaseBusy(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The database is busy; try again shortly."


class DatabaseUnavailable(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The database cannot be used right now."


class InvalidImport(DomainError):
    kind = Kind.INVALID
    message = "This file cannot be imported."


class ImportConflict(DomainError):
    kind = Kind.CONFLICT
    message = "Somebody in this file has an account already."


class ImportInterfered(DomainError):
    kind = Kind.CONFLICT
    message = "Another process imports the same at this moment."


class NoDatabase(DomainError):
    kind = Kind.UNAVAILABLE
    message = "There is no database here."


class SchemaOutdated(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The database has an older schema: run `usersvc migrate`."


class SchemaTooNew(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The database was made by a newer usersvc: install that version."


class CopyUnfinished(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The database is an unfinished copy: finish it with `usersvc copy-database`."


class NotRestored(DomainError):
    kind = Kind.UNAVAILABLE
    message = (
        "The database is a backup that was put in place by hand: run `usersvc after-restore`, or what was "
        "revoked since it was made would be good again."
    )


class DumpFailed(DomainError):
    kind = Kind.UNAVAILABLE
    message = "PostgreSQL's own program failed."


class KeysUnavailable(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The keys cannot be opened: start this process again with the new secret key."


class MailNotSent(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The mail could not be sent."


class WebhookNotReached(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The receiver did not accept it."


class BrokenTemplates(DomainError):
    kind = Kind.INVALID
    message = "Templates have mistakes: mails are made from the built-in ones in their place."


class ChecksFailed(DomainError):
    kind = Kind.UNAVAILABLE
    message = "Not everything is all right."


class AddressInUse(DomainError):
    kind = Kind.UNAVAILABLE
    message = "Something else listens on this address already."


class NoAddress(DomainError):
    kind = Kind.UNAVAILABLE
    message = "This address cannot be listened on."


class OtherSystemUser(DomainError):
    kind = Kind.FORBIDDEN
    message = "The data directory belongs to another system user."


class NotServing(DomainError):
    kind = Kind.UNAVAILABLE
    message = "The API processes could not start; the log says why."
