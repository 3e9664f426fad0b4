"""Classes with many public methods, and names that several modules define: each with its reason."""

from __future__ import annotations

WINDOW = "a window of the detectors' contract (panes, expiry, state), with its counters"
SOURCE = "implements Source and optional protocols beside it (watchdog/core/source.py)"
# Classes over the limit, with the number of their public methods and the reason. It may shrink, never grow.
MANY_METHODS: dict[str, tuple[int, str]] = {
    "alerts.book.IncidentBook": (9, "one state machine: findings, operators, time, rules and nodes that go"),
    "alerts.case.feed.NodeCases": (9, "both books of a node, and everything that reaches them"),
    "alerts.cases.CaseBook": (10, "one state machine: findings, time, operators, silences and windows"),
    "alerts.claims.Claim": (9, "what links, counts and reopens are questions to one claim"),
    "alerts.incident_table.IncidentTable": (9, "the one index of incidents: by id, fingerprint, finding and state"),
    "detectors.baseline.Baseline": (11, "the detectors' contract, with runs of panes beside single ones"),
    "detectors.distinct.DistinctWindow": (9, WINDOW),
    "detectors.extremes.Extremes": (9, WINDOW),
    "detectors.pair_window.PairWindow": (9, WINDOW),
    "detectors.window_banks.WindowBank": (9, WINDOW),
    "watchdog.archive.reader.EventsFile": (11, "one open file: forward, by position and by time, over one frame cache"),
    "watchdog.engine.group_engine.GroupEngine": (12, "the engine's whole contract: input, watermarks, state, counts"),
    "watchdog.engine.grouping.Grouping": (
        12,
        "one table of keys: the key arrays, their slots and their names must agree",
    ),
    "watchdog.engine.learning.Learning": (10, "single panes, runs and silence learn alike, beside the contract"),
    "watchdog.engine.measures.distinct.Distinct": (9, "implements Measure"),
    "watchdog.engine.measures.measure.Measure": (10, "a protocol: one method for each moment of a pane"),
    "watchdog.engine.measures.window_measures.WindowMeasures": (12, "implements Measure, and shares its windows"),
    "watchdog.engine.panes.Decider": (9, "a protocol: what the stepping of panes asks of a rule"),
    "watchdog.engine.surplus.Surplus": (9, "one count by rule and key, each change of which is in the checkpoint"),
    "watchdog.engine.verdict.Verdict": (12, "implements Decider, with its state"),
    "watchdog.engine.window_rules.WindowRules": (15, "implements Decider, with its state and its findings"),
    "watchdog.extract.probes.Probes": (12, "one loaded program: process, tracepoints, records and counters"),
    "watchdog.pipeline.pipeline.Pipeline": (9, "the one place where engine and books advance together"),
    "watchdog.service.pending_actions.PendingActions": (11, "one queue of operators' actions through all their states"),
    "watchdog.sources.capture.files.CaptureFile": (
        11,
        "a cursor in one file: its bytes, records and end change together",
    ),
    "watchdog.sources.capture.source.CaptureSource": (11, SOURCE),
    "watchdog.sources.live.inbox.Inbox": (9, "two ends of one lock: the producer's methods and the consumer's"),
    "watchdog.sources.log.peers.OpenPeers": (13, "one method for each log line about a connection, over one table"),
    "watchdog.sources.log.source.DebugLogSource": (11, SOURCE),
    "watchdog.sources.rpc.lines.LineReader": (
        11,
        "a cursor in one file: bytes, line numbers and times change together",
    ),
    "watchdog.stream.session.ReaderSession": (10, "one connection: what the other end calls, and what is sent to it"),
    "watchdog.sources.wire.part.MessageBlock": (
        14,
        "the reading primitives of the decoders; each notes what it refuses",
    ),
}
# Class and alias names that more than one module defines, with the reason.
SHARED_NAMES = {
    "Column": "an array of one measure in the engine; any stored column, also of texts and bytes, in a batch",
    "Flags": "the detectors import nothing of watchdog, so the array aliases exist on both sides",
    "Ints": "the same; detectors.kernel stands below the windows that name it",
    "Words": "the same",
    "Message": "what people read of a notice; what an IPC child hands over",
    "Probe": "a tracepoint in a binary; what the self-watch asks",
    "Policy": "the bounds of an incident book; what a full inbox does",
}
