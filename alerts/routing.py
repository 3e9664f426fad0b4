"""Who hears of a change: pure, from a stored change and the receivers to notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from alerts.incident import RANK
from alerts.notice import ChangeRecord, Notice, event_type, notice_id
from alerts.render import as_object
from watchdog.core.finding import Severity

NoticeFormat = Literal["webhook", "alertmanager", "alertmanager-webhook"]
FORMATS: tuple[NoticeFormat, ...] = ("webhook", "alertmanager", "alertmanager-webhook")
"""Their encoders are in `alerts.delivery.formats`."""
DEFAULT_EVENTS = ("incident.opened", "incident.escalated", "incident.acknowledged", "incident.resolved")


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where notices go. Secrets stay in memory: nothing of a receiver but its name is ever stored.

    secrets: `whsec_` and base64 as Standard Webhooks writes them, newest first; all of them sign, so that a key can be
    changed without a moment in which the other side refuses. severity: the least that is told. events: of
    `EVENT_TYPES`. rate_per_minute: requests. headers: sent with each request. allow_private: private, loopback and
    link-local targets are fine. keepalive_s: how often a firing alert is posted again, in formats that need it.
    """

    name: str
    url: str = field(repr=False)
    format: NoticeFormat = "webhook"
    secrets: tuple[str, ...] = field(default=(), repr=False)
    severity: Severity = "warning"
    events: tuple[str, ...] = DEFAULT_EVENTS
    rate_per_minute: int = 60
    timeout_s: float = 10.0
    allow_private: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True
    keepalive_s: float = 60.0

    def wants(self, type_: str, severity: Severity) -> bool:
        """Whether a change of this type, of an incident of this severity, is told here."""
        return self.enabled and type_ in self.events and RANK[severity] >= RANK[self.severity]


def notices(
    record: ChangeRecord, receivers: Sequence[Receiver], url_of: Callable[[str], str | None], now_ns: int
) -> list[Notice]:
    """One notice for each receiver that wants the change, in their order; `url_of` gives an incident's page.

    State and severity are the change's own: when several changes are told with one later picture, each still says what
    it was.
    """
    incident, change = record.incident, record.change
    type_ = event_type(change.reason)
    wanting = [receiver for receiver in receivers if type_ is not None and receiver.wants(type_, change.severity)]
    if type_ is None or not wanting:
        return []
    body = as_object(incident, record.title) | {
        "state": change.state.value,
        "severity": change.severity,
        "url": url_of(incident.id),
    }
    return [
        Notice(notice_id(record, one.name), one.name, incident.id, type_, change.severity, now_ns, body)
        for one in wanting
    ]
