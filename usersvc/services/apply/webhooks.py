"""Webhooks, each known by its URL, which is shown without what may be secret in it."""

from collections import defaultdict
from functools import partial

from usersvc.services import webhooks
from usersvc.services.apply.comparison import Comparison
from usersvc.services.apply.declaration import AWebhook, secret_path
from usersvc.services.apply.plan import Action, Difference, Item, Outcome, value
from usersvc.services.apply.secret_files import reserved
from usersvc.services.webhooks import WebhookView
from usersvc.webhooks.endpoints import parse


def compare(given: Comparison) -> None:
    if given.declared.webhooks is None:
        return
    there: dict[str, list[WebhookView]] = defaultdict(list)
    for webhook in webhooks.list_webhooks(given.core, actor=given.actor):
        there[webhook.url].append(webhook)
    for entry in given.declared.webhooks:
        found = there.pop(entry.url, [])
        if len(found) > 1:
            ids = ", ".join(str(webhook.id) for webhook in found)
            given.plan.mistaken(
                entry, f"there are {len(found)} webhooks to this URL: delete all but one of {ids}"
            )
        elif found:
            _change(given, entry, found[0])
        else:
            _make(given, entry)
    for webhook in [webhook for of_url in there.values() for webhook in of_url]:
        _delete(given, webhook)


def shown(url: str) -> str:
    """Who gets it. Path and query may hold a secret."""
    endpoint = parse(url)
    rest = "" if endpoint.target == "/" else "/…"
    return f"{'https' if endpoint.over_tls else 'http'}://{endpoint.authority}{rest}"


def _make(given: Comparison, entry: AWebhook) -> None:
    if given.files.is_taken(entry):
        given.plan.mistaken(
            entry, "secret_file: there is a file already, and the webhook is new: it stays as it is"
        )
        return
    given.plan.add(
        Action.MAKE,
        Item("webhooks", shown(entry.url)),
        [
            value("description", None, entry.description or None),
            value("events", None, _events(entry)),
            value("enabled", None, False if entry.enabled is False else None),
            value("secret_file", None, entry.secret_file),
        ],
        key=entry.url,
        run=partial(_run_make, given, entry),
    )


def _run_make(given: Comparison, entry: AWebhook) -> Outcome:
    path = secret_path(given.declared, entry.secret_file) if entry.secret_file else None
    remedy = " The webhook is made: get another secret by `usersvc rotate-webhook-secret`."
    with reserved(path, remedy=remedy) as write:
        made = webhooks.create(
            given.core,
            url=entry.url,
            events=set(entry.events or ()),
            description=entry.description or "",
            enabled=entry.enabled is not False,
            once=True,
            actor=given.actor,
        )
        write(made.secret)
    return Outcome(made.id, secret_file=path, lacks_secret=path is None)


def _change(given: Comparison, entry: AWebhook, found: WebhookView) -> None:
    lost = entry.secret_file and not given.files.is_taken(entry)
    note = f"{entry.secret_file} is not there: get another secret by rotate-webhook-secret" if lost else ""
    given.plan.compare(
        Item("webhooks", shown(entry.url), note, found.id),
        gives=_differences(entry, found),
        takes=[],
        key=entry.url,
        run=partial(_run_change, given, entry, found),
    )


def _differences(entry: AWebhook, found: WebhookView) -> list[Difference | None]:
    """Its own settings, as the file says; nobody's rights."""
    pairs = [
        ("description", found.description, entry.description),
        ("events", found.events, None if entry.events is None else _events(entry)),
        ("enabled", found.enabled, entry.enabled),
    ]
    return [value(what, before, after) for what, before, after in pairs if after is not None]


def _run_change(given: Comparison, entry: AWebhook, found: WebhookView) -> Outcome:
    differs = {change.what for change in _differences(entry, found) if change}
    events = None if entry.events is None or "events" not in differs else set(entry.events)
    changed = webhooks.change(
        given.core,
        webhook_id=found.id,
        events=events,
        description=entry.description if "description" in differs else None,
        enabled=entry.enabled if "enabled" in differs else None,
        actor=given.actor,
    )
    return Outcome(changed.id)


def _delete(given: Comparison, webhook: WebhookView) -> None:
    def run() -> Outcome:
        webhooks.delete(given.core, webhook_id=webhook.id, actor=given.actor)
        return Outcome(webhook.id)

    note = "is deleted" + (f", with {webhook.waiting} deliveries that wait" if webhook.waiting else "")
    item = Item("webhooks", shown(webhook.url), note, webhook.id)
    given.plan.take(Action.REMOVE, item, [], key=str(webhook.id), run=run)


def _events(entry: AWebhook) -> list[str]:
    return sorted({str(event) for event in entry.events or ()})
