"""Packed prefixes and their text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core import prefix
from watchdog.core.prefix import pack_prefixes, parse_prefix, prefix_texts

KNOWN = {
    "136.43.0.0/16": prefix.IPV4_16 << 56 | 0x882B,
    "137.190.44.0/24": prefix.IPV4_24 << 56 | 0x89BE2C,
    "2a01:4f8::/32": prefix.IPV6_32 << 56 | 0x2A0104F8,
    "2001:470:1000::/36": prefix.IPV6_36 << 56 | 0x200104701,
    "2001:470:1f0b::/48": prefix.IPV6_48 << 56 | 0x200104701F0B,
    "AS24940": prefix.AS << 56 | 24940,
    "onion:5": prefix.ONION << 56 | 5,
    "i2p:15": prefix.I2P << 56 | 15,
    "cjdns:0": prefix.CJDNS << 56,
    "local": prefix.LOCAL_PREFIX,
    "internal": prefix.INTERNAL << prefix.PAYLOAD_BITS,
    "unroutable": prefix.UNROUTABLE_PREFIX,
}


@pytest.mark.parametrize(("text", "value"), KNOWN.items())
def test_text_and_number_of_a_prefix_belong_together(text: str, value: int) -> None:
    assert parse_prefix(text) == value
    assert prefix_texts([value]) == [text]


def test_arrays_become_texts_in_order() -> None:
    values = pack_prefixes(prefix.AS, np.array([1, 4294967295], np.uint32))
    assert values.dtype == np.uint64
    assert prefix_texts(values) == ["AS1", "AS4294967295"]


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "AS", "AS-1", "AS4294967296", "AS01", "as5", "onion:16", "onion:05", "onion", "ipv4:3",
        "LOCAL", "1.2.3.4", "1.2.3.4/16", "1.2.0.0/17", "1.2.0.0/016", "1.2/16", "2a01::/16", "2a01:4f8:1::/32",
        "::/1e1", "x::/32", "1.2.0.0/\u0661\u0666", "AS\u0661", "1.2.0.0/16/16", "1.2.0.0\0/16",
    ],
)  # fmt: skip
def test_a_text_of_another_form_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_prefix(text)


@given(st.integers(0, (1 << 64) - 1))
def test_every_number_has_a_text_and_known_forms_come_back(value: int) -> None:
    (text,) = prefix_texts([value])
    if not text.startswith("prefix:"):
        assert parse_prefix(text) == value


@given(st.sampled_from(range(3, 12)), st.integers(0, 15))
def test_small_payloads_of_every_type_come_back(code: int, payload: int) -> None:
    value = int(pack_prefixes(code, payload))
    assert parse_prefix(prefix_texts([value])[0]) == value


@given(st.text(max_size=30))
def test_parsing_any_text_gives_a_prefix_or_a_value_error(text: str) -> None:
    try:
        value = parse_prefix(text)
    except ValueError:
        return
    assert parse_prefix(prefix_texts([value])[0]) == value
