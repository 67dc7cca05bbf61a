"""`/metrics` for Prometheus: what the API processes counted, and what the database tells of the workers."""

import hmac
from collections.abc import Iterator
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.security.utils import get_authorization_scheme_param
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse, Response

from usersvc import __version__
from usersvc.api.counting import Counts
from usersvc.api.deps import face_of, run
from usersvc.core import Core
from usersvc.errors import DomainError
from usersvc.services import health, schema
from usersvc.services.actor import Actor
from usersvc.services.health import Vitals

router = APIRouter(tags=["health"])

_STATUSES = ("due", "sent", "failed", "dead", "dropped")


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=PlainTextResponse,
    responses={
        401: {"description": "A `server.metrics_token` is set, and this request came without it."},
        403: {"description": "Only a program on the same machine may ask: no `server.metrics_token` is set."},
        503: {"description": "Too much to do right now."},
    },
)
async def metrics(request: Request) -> Response:
    """In Prometheus' text format, for all processes; for programs on this machine, or with the token."""
    face = face_of(request)
    expected = face.core.settings.server.metrics_token.get_secret_value()
    if not _has_token(request, expected) and not face.is_on_this_machine(request):
        return _refusal(token_helps=bool(expected))
    body = await run(request, _scrape, on="long_reads", counts=face.counts)
    return Response(body, media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _has_token(request: Request, expected: str) -> bool:
    """No scheme of the OpenAPI document: whoever tries the API in a browser is asked for one token alone."""
    scheme, given = get_authorization_scheme_param(request.headers.get("authorization"))
    is_right = hmac.compare_digest(given.encode(), expected.encode())
    return scheme.lower() == "bearer" and bool(expected) and is_right


def _refusal(*, token_helps: bool) -> Response:
    if token_helps:
        return PlainTextResponse(
            "Send the token of server.metrics_token: Authorization: Bearer TOKEN\n",
            401,
            {"WWW-Authenticate": "Bearer"},
        )
    return PlainTextResponse(
        "Only programs on the machine itself may read this, unless server.metrics_token is set.\n", 403
    )


def _scrape(core: Core, *, counts: Counts, actor: Actor) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Instance(_vitals(core)))
    return counts.exposition() + generate_latest(registry)


def _vitals(core: Core) -> Vitals | None:
    """None where the database cannot be read: the metric that says so is what the operator needs then."""
    try:
        schema.require_current(core)
        return health.vitals(core)
    except DomainError:
        return None


class _Instance(Collector):
    """The instance as a whole, as its database tells; made anew for each scrape."""

    def __init__(self, vitals: Vitals | None) -> None:
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        yield _gauge("usersvc_build_info", "The version that runs; always 1.", 1, version=__version__)
        up = self._vitals is not None
        yield _gauge("usersvc_database_up", "Whether the database could be read, 1 or 0.", up)
        if self._vitals:
            yield from _of_mail(self._vitals)
            yield from _of_webhooks(self._vitals)
            yield from _of_jobs(self._vitals)


def _age(vitals: Vitals, since: datetime | None) -> float:
    return max(0.0, (vitals.at - since).total_seconds()) if since else 0


def _of_mail(vitals: Vitals) -> Iterator[Metric]:
    mails = GaugeMetricFamily("usersvc_outbox_mails", "Mails in the outbox by status.", labels=["status"])
    for status in _STATUSES:
        mails.add_metric([status], vitals.mails.get(status, 0))
    yield mails
    yield _gauge(
        "usersvc_outbox_oldest_age_seconds",
        "Age of the oldest mail that still has to go out; 0 where there is none.",
        _age(vitals, vitals.mail_waiting_since),
    )
    yield _gauge(
        "usersvc_outbox_overdue_seconds",
        "For how long a mail has been due that no worker has taken; 0 where there is none.",
        _age(vitals, vitals.mail_overdue_since),
    )


def _of_webhooks(vitals: Vitals) -> Iterator[Metric]:
    deliveries = GaugeMetricFamily(
        "usersvc_webhook_deliveries", "Deliveries to webhooks by status.", labels=["status"]
    )
    for status in _STATUSES:
        deliveries.add_metric([status], vitals.deliveries.get(status, 0))
    yield deliveries
    yield _gauge(
        "usersvc_webhook_oldest_age_seconds",
        "Age of the oldest delivery to a webhook that still has to go out; 0 where there is none.",
        _age(vitals, vitals.delivery_waiting_since),
    )
    yield _gauge(
        "usersvc_webhook_overdue_seconds",
        "For how long a delivery to a webhook has been due that no worker has taken; 0 where there is none.",
        _age(vitals, vitals.delivery_overdue_since),
    )


def _of_jobs(vitals: Vitals) -> Iterator[Metric]:
    seen, purged = vitals.worker_seen_at, vitals.purged_at
    yield _gauge(
        "usersvc_worker_last_seen_timestamp_seconds",
        "When a worker, whichever, was seen last (Unix time); 0 where none ever was.",
        seen.timestamp() if seen else 0,
    )
    yield _gauge(
        "usersvc_purge_last_run_timestamp_seconds",
        "When the last purge ended (Unix time); 0 where none ever did.",
        purged.timestamp() if purged else 0,
    )
    rows = GaugeMetricFamily(
        "usersvc_purge_last_deleted_rows", "Rows that the last purge deleted, by kind.", labels=["kind"]
    )
    for kind, count in vitals.purged.items():
        rows.add_metric([kind], count)
    yield rows


def _gauge(name: str, meaning: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
