"""Stories of cases for the page in a browser, and what its tests ask of it."""

from __future__ import annotations

import json

from sqlalchemy import select, update

from alerts.store.database import Database
from alerts.store.schema import cases
from tests.support.case_story import TEAM, CaseStory
from tests.support.chromium import Tab
from tests.support.event_loops import scenery
from tests.support.web_view import StoredView
from watchdog.service.announcer import Announcer

ECLIPSE_A, ECLIPSE_B = "91.165.48.111", "217.94.191.240"


class EclipseStory(CaseStory):
    """A case with two stages. case: its id."""

    case = ""


def eclipse_story(database: Database) -> EclipseStory:
    """Slots taken by one party, which is quiet since, and outbound peers replaced by another, at minutes 0 and 5."""
    story = EclipseStory(database, TEAM)
    story.rig.burst("eclipse-inbound-group", [ECLIPSE_A], 0, 4, severity="high")
    story.rig.say("eclipse-outbound-replaced", [ECLIPSE_B], 5, severity="high")
    story.until(7)
    story.keep()
    (story.case,) = [one.life.id for one in story.rig.feed.book.pictures()]
    return story


def followed(view: StoredView, story: CaseStory) -> None:
    """Announce what the story stores from now on, as the service does. Called in the event loop."""
    announcer = Announcer(view.hub)
    announcer.start()
    story.heard = announcer.cases_stored


def rewrite_case(database: Database, case: str, text: str) -> None:
    """Put a text wherever a stored case has text that others chose."""

    def rewrite() -> None:
        with database.engine.begin() as connection:
            document = json.loads(connection.execute(select(cases.c.document).where(cases.c.id == case)).scalar_one())
            document |= {"headline": text, "announced": [text], "acknowledged_by": text, "split_off": [text]}
            document["advice"] |= {"do": [text], "why": text, "runbook": f"javascript:{text}"}
            for one in document["parties"]:
                one |= {"name": text, "addresses": [text, text * 2], "rules": [text]}
            for one in (*document["notices"], document):
                one["parties"] = [text] if one is not document else document["parties"]
            for one in document["claims"]:
                one |= {"party": text, "rule": text, "title": text}
            for one in document["links"]:
                one["why"] = text
            document["not_joined"] = [{"time": document["opened"], "case": "", "why": text}]
            connection.execute(update(cases).where(cases.c.id == case).values(document=json.dumps(document)))

    scenery(rewrite)


async def part_rows(tab: Tab, part: str) -> list[str]:
    """Return the rows of the table in a part of the page, each as one line."""
    rows = f"[...document.querySelectorAll('[data-part={part}] tbody tr')]"
    found: list[str] = await tab.run(f"{rows}.map((row) => row.innerText.replace(/\\s+/g, ' '))")
    return found
