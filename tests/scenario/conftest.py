"""Scenarios prove their marks: see tests/support/witness.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import witness


@pytest.fixture(autouse=True)
def proved_marks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare the marks `attack` and `benign` of a test with what the rules did in it."""
    witness.forget()
    yield
    assert witness.complaints(request.node) == []
