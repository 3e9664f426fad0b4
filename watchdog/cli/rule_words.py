"""What silences need to know of rules, and the configuration that names both."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping

from alerts.claims import RuleWords, no_words, words_of
from alerts.silence import ClaimSilence
from alerts.silence_preview import WordsOf, silenced_lines
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.silences import Silences
from rules.load import load
from watchdog.service.config.read import DEFAULT_PATH, ConfigError, load_config
from watchdog.service.config.settings import ServiceConfig


def configuration(args: argparse.Namespace) -> ServiceConfig | None:
    """Return the configuration of a command if there is one; without one the silences of the database are all."""
    if args.config is None and not DEFAULT_PATH.exists():
        return None
    try:
        return load_config(args.config or DEFAULT_PATH)
    except ConfigError as error:
        if args.config is not None:
            raise
        sys.stderr.write(f"watchdog: {error.in_one_line()}; its silences are not looked at\n")
        return None


def known_words(config: ServiceConfig | None) -> Mapping[str, RuleWords]:
    """Return the words of the rules of a configuration; without one, of the shipped rules."""
    return words_of(load(()).plans if config is None else load(config.rules, packs=config.packs).plans)


def word_of(known: Mapping[str, RuleWords]) -> WordsOf:
    """Return how to look up the words of a rule, also of one that is not loaded."""
    return lambda rule: known.get(rule) or no_words(rule)


def every_silence(args: argparse.Namespace, database: Database, now_ns: int) -> tuple[list[ClaimSilence], WordsOf]:
    """Return all silences, those that are over too, and the words of rules to compare them by."""
    config = configuration(args)
    stored = [one.silence for one in Silences(database).listed(now_ns, over=True)]
    return [*([] if config is None else config.silences), *stored], word_of(known_words(config))


def silenced_incident(args: argparse.Namespace, database: Database, digits: str) -> list[str]:
    """Return why an incident that is in no case was held back by silences; empty when it was not, or is unknown."""
    queries = IncidentQueries(database)
    ids = queries.completed(digits)
    incident = queries.one(ids[0]) if len(ids) == 1 else None
    if incident is None:
        return []
    silences, words = every_silence(args, database, time.time_ns())
    return [f"incident {ids[0]}: {line}" for line in silenced_lines(silences, incident, words(str(incident["rule"])))]
