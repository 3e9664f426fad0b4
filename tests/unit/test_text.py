"""Peer strings made harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.text import decode_text, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/Satoshi:29.0.0/", "/Satoshi:29.0.0/"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\0", "a\\x0d\\x0ab\\x00"),
        ("left\u202eright", "left\\u{202e}right"),
        ("zero\u200bwidth\ufeff", "zero\\u{200b}width\\u{feff}"),
        ("\ud800", "\\u{d800}"),
        ("\U000e0041", "\\u{e0041}"),
        ("\u0378", "\\u{378}"),
        ("blank\u3164", "blank\\u{3164}"),
        ("z\u0363", "z\\u{363}"),
        ("\x9b2J", "\\x9b2J"),
        ("no\u00a0break", "no\\xa0break"),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_unsafe_characters_become_escapes_and_others_stay(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut_with_a_mark_and_no_escape_is_cut_in_two() -> None:
    assert printable("a" * 256) == "a" * 256
    assert printable("a" * 257) == "a" * 255 + "…"
    assert printable("ab\x1b\x1b", 8) == "ab\\x1b…"
    assert printable("\x1b" * 10_000_000, 4) == "…"
    assert printable("abc", 0) == ""


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40), st.integers(0, 60))
def test_whatever_was_sent_the_result_is_short_and_safe(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert all(unicodedata.category(char)[0] not in "CM" for char in shown)
    assert all(char == " " or unicodedata.category(char)[0] != "Z" for char in shown)
    shown.encode("utf-8")


@given(st.binary(max_size=60))
def test_decoding_never_fails_and_keeps_valid_utf8(raw: bytes) -> None:
    text = decode_text(raw)
    try:
        assert text == raw.decode("utf-8")
    except UnicodeDecodeError:
        assert "\\x" in text
