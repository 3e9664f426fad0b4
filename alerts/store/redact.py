"""Incidents that can be handed on: addresses and netgroups become keyed hashes, alike for alike.

Only with the key can a pseudonym be matched to an address; without it, trying all addresses does not help. The
same address has the same name in every export with one key, with or without its port, so patterns stay visible. AS
numbers are replaced as netgroups are, and so are ids and fingerprints: those are plain hashes over keys, and sixteen
bits of a netgroup are tried in no time. Operators' names, notes, deliveries and recordings are left out. Ports, times,
counts, services and the names of node and rule stay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from watchdog.core.address import parse_address, split_port
from watchdog.core.errors import SecretError
from watchdog.core.prefix import parse_prefix

LEAST_KEY_BYTES = 16
MOST_KEY_BYTES = 64  # BLAKE2b takes no longer ones
DIGEST_BYTES = 8
LEFT_OUT = frozenset({"acknowledged_by", "actions", "deliveries", "notes", "recordings", "url"})
HASHED = frozenset({"fingerprint", "id"})
NETGROUP_FIELD = re.compile(r"(?:^|_)(?:netblock|netgroup|subnet)$")
ADDRESS_FIELD = re.compile(r"(?:^|_)(?:addr|address|peer|host)$")
NUMBER_FIELD = re.compile(r"^(?:address_id|asn|(?:address|entry|source|old|lost|peer)_asn)$")
NOTHING = frozenset({"", "0", "unknown", "unroutable", "local", "internal", "*"})

_COLONS = re.compile(r"\[?[0-9a-f]{0,8}(?::[0-9a-f.]*){2,}(?:/\d{1,3}|\](?::\d{1,5})?)?", re.IGNORECASE)
"""What may be IPv6: 2001:db8::1, [2001:db8::1]:8333, 2001:db8::/32, and times of day, which are distinguished later."""

_PLACE = re.compile(
    r"""
    (?<!\d)(?<!\d\.)\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2}|:\d{1,5})?(?!\d)  # 192.0.2.1:8333, 192.0.0.0/16
    | [a-z2-7]{16,62}\.(?:onion|b32\.i2p)(?::\d{1,5})?
    | (?<!\w)AS\d{1,10}(?!\w)
    | (?<!\w)(?:onion|i2p|cjdns):\d{1,3}(?!\w)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ID = re.compile(r"(?<![0-9a-zA-Z-])[0-9a-f]{16}(?![0-9a-zA-Z-])")
_OPERATOR_TEXT = re.compile(r"^by .*$", re.DOTALL)


class Redactor:
    """Pseudonyms for addresses, netgroups and ids, derived from one key."""

    def __init__(self, key: bytes) -> None:
        if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
            raise SecretError(f"redaction key: {len(key)} bytes; {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} are needed")
        self._key = key

    @classmethod
    def from_file(cls, path: Path) -> Redactor:
        """Return a redactor with a file's key, stripped of white space. SecretError: it is too short or too long."""
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            raise SecretError(f"redaction key '{path}': {(error.strerror or 'cannot be read').lower()}") from None
        if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
            raise SecretError(
                f"redaction key '{path}': {len(key)} bytes; {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} are needed, "
                f"for example from: openssl rand -hex 32 > '{path}'"
            )
        return cls(key)

    def incident(self, incident: Mapping[str, object]) -> dict[str, object]:
        """Return an incident object (`IncidentQueries.one`) without anything that identifies a peer or an operator."""
        kept = {name: value for name, value in incident.items() if name not in LEFT_OUT}
        hashed = {name: self._name("incident", str(kept[name])) for name in HASHED & set(kept)}
        rest = {name: self._value(name, value) for name, value in kept.items() if name not in HASHED}
        return {name: (hashed | rest)[name] for name in kept}

    def case(self, case: Mapping[str, object]) -> dict[str, object]:
        """Return a case's document without anything that identifies a peer or an operator.

        Ids of incidents become the hashes that `incident` gives them, all others those of cases: the id of a split or
        merged case leads to the same name wherever it is. What operators wrote is left out.
        """
        kept = {name: value for name, value in case.items() if name not in LEFT_OUT | {"story", "story_beyond"}}
        own = _incidents_of(case)
        return {name: self._with_ids(self._value(name, value), own) for name, value in kept.items()}

    def _with_ids(self, value: object, incidents: frozenset[str]) -> object:
        if isinstance(value, Mapping):
            return {name: self._with_ids(one, incidents) for name, one in value.items()}
        if isinstance(value, list):
            return [self._with_ids(one, incidents) for one in value]
        if not isinstance(value, str):
            return value
        return _ID.sub(lambda found: self._name("incident" if found[0] in incidents else "case", found[0]), value)

    def text(self, text: str) -> str:
        """Return a text with each address, netgroup and AS number in it replaced."""
        return _PLACE.sub(lambda found: self._place(found[0]), _COLONS.sub(lambda found: self._colons(found[0]), text))

    def _value(self, name: str, value: object) -> object:
        if isinstance(value, Mapping):
            fields = {str(inner): self._value(str(inner), one) for inner, one in value.items()}
            if "reason" in fields and _OPERATOR_TEXT.match(str(fields.get("text"))):
                fields["text"] = "by an operator"
            return fields
        if isinstance(value, list | tuple):
            return [self._value(name, one) for one in value]
        if isinstance(value, str):
            return self._field_text(name, value)
        if NUMBER_FIELD.match(name) and isinstance(value, int) and value:
            return self._name("as" if name.endswith("asn") else "address", str(value))
        return value

    def _field_text(self, name: str, text: str) -> str:
        """Return a field's text, replaced as a whole if the field names an address, else wherever it contains one."""
        if text in NOTHING:
            return text
        if NUMBER_FIELD.match(name):
            return self._name("as" if name.endswith("asn") else "address", text.removeprefix("AS"))
        replaced = self.text(text)
        if replaced != text or (name in ("peer", "host") and text.isdigit()):
            return replaced
        if NETGROUP_FIELD.search(name):
            return self._name("net", text)
        return self._name("addr", text) if ADDRESS_FIELD.search(name) else text

    def _colons(self, text: str) -> str:
        """Return the pseudonym of an IPv6 address or subnet; other text with colons, such as a time of day, stays."""
        told = text.rstrip(".")
        if not told.endswith("::"):
            told = told.rstrip(":")
        if "::" not in told and told.count(":") < 7:
            return text
        return self._place(told) + text[len(told) :]

    def _place(self, text: str) -> str:
        """Return the pseudonym of one address, netgroup or AS, with its port."""
        if text[:2].upper() == "AS" and text[2:].isdigit():
            if not int(text[2:]):
                return text  # none known
            return self._name("as", str(int(text[2:])))
        if _is_prefix(text):
            return self._name("net", text.lower())
        host, port = split_port(text)
        address = parse_address(text)
        known = f"{address.network}:{address.packed.hex()}" if address else host.lower()
        return self._name("addr", known) + (f":{port}" if port else "")

    def _name(self, kind: str, known: str) -> str:
        digest = hashlib.blake2b(
            f"{kind}:{known}".encode("utf-8", "backslashreplace"), key=self._key, digest_size=DIGEST_BYTES
        )
        return f"{kind}-{digest.hexdigest()}"


def _incidents_of(case: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the incidents that a case's document names, those of which only a claim is left too."""
    return frozenset([*case.get("incidents", ()), *(claim["incident"] for claim in case.get("claims", ()))])


def _is_prefix(text: str) -> bool:
    """Return whether a text is a netgroup, a netblock or a subnet."""
    if "/" in text:
        return True
    try:
        return parse_prefix(text) >= 0
    except ValueError:
        return False
