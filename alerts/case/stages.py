"""When a case entered each stage of an eclipse."""

from __future__ import annotations

from alerts.case.links import STAGE_OF
from alerts.cases import CasePicture


def stages_entered(picture: CasePicture) -> list[dict[str, object]]:
    """Return the stages, each with the time of its first claim (unix seconds); null for one that an earlier case had.

    Null too where a case has met its bound of claims and all of that stage were quiet.
    """
    entered: dict[str, int] = {}
    for claim in picture.claims:
        stage = STAGE_OF.get(claim.words.technique)
        if stage is not None:
            entered[stage] = min(entered.get(stage, claim.first_ns), claim.first_ns)
    return [
        {"stage": stage, "time": entered[stage] / 1e9 if stage in entered else None} for stage in picture.life.stages
    ]
