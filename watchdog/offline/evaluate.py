"""Evaluation of the rules on labelled recordings: labels found, delays, false alarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alerts.case.house import HOUSE
from alerts.incident import Incident
from watchdog.core.durations import rough_duration
from watchdog.core.errors import SourceError
from watchdog.core.finding import FLEET
from watchdog.offline.case_scores import CaseScores, score_cases
from watchdog.offline.labels import Label, LabelMatch, grace_of, is_alarm, match, read_labels
from watchdog.offline.replay import Progress, ReplayOptions, ReplayResult, replay
from watchdog.offline.replay_fleet import replay_fleet

DAY_S = 86_400.0
SCHEME = "recording:"


@dataclass(frozen=True, slots=True)
class LabelScore:
    """The incidents that match one label; the definition that all tables share."""

    label: Label
    matches: tuple[LabelMatch, ...]

    @property
    def benign(self) -> bool:
        """Benign labels can be neither found nor missed."""
        return self.label.benign

    @property
    def found(self) -> bool:
        """Whether any incident matches it, even if only by its class."""
        return bool(self.matches)

    @property
    def best(self) -> tuple[LabelMatch, ...]:
        """The best matches: of its class with a true entity, else with a true entity, else of its class alone.

        The last may be about something else at the same time.
        """
        named = tuple(one for one in self.matches if one.named)
        return tuple(one for one in named if one.primary) or named or self.matches

    @property
    def named(self) -> bool:
        """Whether a match names a true entity."""
        return any(one.named for one in self.matches)

    @property
    def delay_s(self) -> float | None:
        """Seconds from its start to the first of `best` that opened then, 0 when none did; None when missed."""
        opened = [one.incident.opened_ns / 1e9 - self.label.start for one in self.best]
        return min((delay for delay in opened if delay >= 0), default=0.0) if opened else None

    @property
    def open_before(self) -> bool:
        """Whether all of `best` were open before it began: from an earlier attack, so the delay is unknown."""
        return self.found and all(one.incident.opened_ns / 1e9 < self.label.start for one in self.best)

    @property
    def delay_text(self) -> str:
        """`45s`, `open` when its incidents were open before it began, nothing when it was missed."""
        if self.delay_s is None:
            return ""
        return "open" if self.open_before else rough_duration(int(self.delay_s * 1e9))


@dataclass(frozen=True, slots=True)
class RecordingScore:
    """One recording. unlabelled: alarms that no label explains; benign: alarms in the span of a benign label.

    faults, unseen, late: of the replay, see `ReplayResult`; with a fault labels may be missed for want of input.
    """

    name: str
    seconds: float
    grace_s: float
    incidents: int
    labels: tuple[LabelScore, ...]
    unlabelled: tuple[Incident, ...]
    benign: tuple[Incident, ...]
    faults: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    late: Mapping[str, int] = field(default_factory=dict)
    cases: CaseScores = field(default_factory=CaseScores)

    @property
    def per_node_day(self) -> float:
        """Unlabelled incidents of warning and above for each day of a node."""
        return len(self.unlabelled) * DAY_S / self.seconds if self.seconds > 0 else 0.0


def evaluate(
    recordings: Sequence[str],
    options: ReplayOptions,
    *,
    progress: Callable[[str, Progress], None] | None = None,
) -> list[RecordingScore]:
    """Replay each labelled recording (a folder, with or without `recording:`) and compare; errors as `replay`."""
    folders = [folder_of(text) for text in recordings]
    labels = [read_labels(folder / "labels.json") for folder in folders]
    scores = []
    for folder, known in zip(folders, labels, strict=True):
        name = folder.resolve().name
        reporter = _reporter(progress, name)
        result = replay([f"{SCHEME}{folder}"], replace(options, checkpoint=None), progress=reporter)
        scores.append(score(name, known, result))
    return scores


def evaluate_fleet(
    nodes: Mapping[str, Sequence[str]],
    options: ReplayOptions,
    *,
    progress: Callable[[str, Progress], None] | None = None,
) -> list[RecordingScore]:
    """Replay labelled recordings of several nodes together; return a score for each node, then that of the fleet.

    nodes: one recording for each. The incidents of a node, also those of rules over nodes that accuse it, are compared
    with its labels; those that accuse no single node with the labels of all. Errors as `replay`.
    """
    folders = {}
    for node, texts in nodes.items():
        if len(texts) != 1:
            raise SourceError(f"node {node}: one labelled recording, not {len(texts)} sources")
        folders[node] = folder_of(texts[0])
    labels = {node: read_labels(folder / "labels.json") for node, folder in folders.items()}
    sources = {node: [f"{SCHEME}{folder}"] for node, folder in folders.items()}
    result = replay_fleet(sources, options, progress=_reporter(progress, "fleet"))
    labels[FLEET] = tuple(dict.fromkeys(label for known in labels.values() for label in known))
    scores = []
    for node, known in labels.items():
        own = [one for one in result.incidents if one.node == node]
        cases = [one for one in result.cases if one.life.node == (HOUSE if node == FLEET else node)]
        faults = result.faults if node == FLEET else ()
        unseen = result.unseen if node == FLEET else ()
        scores.append(score(node, known, replace(result, incidents=own, faults=faults, unseen=unseen, cases=cases)))
    return scores


def folder_of(text: str) -> Path:
    """Return the folder of a recording from the command line; SourceError when it is not one."""
    folder = Path(text.removeprefix(SCHEME))
    if not folder.is_dir():
        reason = "not a folder" if folder.exists() else "no such folder"
        raise SourceError(f"recording '{folder}': {reason}; a recording is a folder with labels.json in it")
    return folder


def score(name: str, labels: Sequence[Label], result: ReplayResult) -> RecordingScore:
    """Compare the incidents of a recording with its labels."""
    end_s = (result.last_event_ns or 0) / 1e9
    seconds = end_s - (result.first_event_ns or 0) / 1e9
    grace_s = grace_of(seconds)
    scores = tuple(_label_score(label, result.incidents, end_s, grace_s) for label in labels)
    attacks = [one for one in scores if not one.benign]
    benign_labels = [label for label in labels if label.benign]
    unlabelled: list[Incident] = []
    benign: list[Incident] = []
    for incident in filter(is_alarm, result.incidents):
        opened_s = incident.opened_ns / 1e9
        if any(_explains(one, incident, grace_s) for one in attacks):
            continue
        within = any(label.covers(opened_s, grace_s) for label in benign_labels)
        (benign if within else unlabelled).append(incident)
    return RecordingScore(
        name,
        seconds,
        grace_s,
        len(result.incidents),
        scores,
        tuple(unlabelled),
        tuple(benign),
        tuple(result.faults),
        tuple(result.unseen),
        result.late,
        score_cases(labels, result.cases, end_s, grace_s),
    )


def _label_score(label: Label, incidents: Sequence[Incident], end_s: float, grace_s: float) -> LabelScore:
    if label.benign:
        return LabelScore(label, ())
    found = [one for incident in incidents if (one := match(label, incident, end_s, grace_s)) is not None]
    return LabelScore(label, tuple(sorted(found, key=lambda one: (not one.primary, one.incident.opened_ns))))


def _explains(scored: LabelScore, incident: Incident, grace_s: float) -> bool:
    """Return whether a label explains an alarm: it opened within the label and matches it."""
    opened_within = scored.label.covers(incident.opened_ns / 1e9, grace_s)
    return opened_within and any(one.incident.id == incident.id for one in scored.matches)


def _reporter(progress: Callable[[str, Progress], None] | None, name: str) -> Callable[[Progress], None] | None:
    if progress is None:
        return None
    report = progress
    return lambda step: report(name, step)
