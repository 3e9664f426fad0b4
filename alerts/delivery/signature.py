"""Standard Webhooks signatures: HMAC-SHA256 over `id.timestamp.body`, several at once while a key is changed.

The scheme is that of the Standard Webhooks specification 1.0: headers `webhook-id`, `webhook-timestamp` (unix
seconds) and `webhook-signature` (`v1,<base64>`, several with a space between), secrets `whsec_` and the base64 of
24 to 64 random bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

from watchdog.core.errors import SecretError, WatchdogError

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
PREFIX = "whsec_"
KEY_BYTES = (24, 64)  # least and most, from the specification
TOLERANCE_S = 300  # how far a timestamp may be from now, as the specification's libraries have it
MAX_SIGNATURES = 16  # looked at in one header; ours sends one for each secret
_DIGITS = 12  # of a timestamp: beyond the year 30000


class SignatureError(WatchdogError):
    """A message is not signed as it should be; the message says what is wrong."""


def secret_key(secret: str) -> bytes:
    """Return the key bytes of a `whsec_` text; SecretError when it is none."""
    text = secret.strip()
    if not text.startswith(PREFIX):
        raise SecretError(f"a signing secret begins with {PREFIX!r}; make one with 'watchdog receivers secret'")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError(f"a signing secret is {PREFIX!r} and base64; this one is no base64") from None
    least, most = KEY_BYTES
    if not least <= len(key) <= most:
        raise SecretError(f"a signing secret holds {least} to {most} bytes, this one {len(key)}")
    return key


def new_secret() -> str:
    """Return a fresh secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature for each key, newest first, with spaces between."""
    return " ".join(f"v1,{_digest(key, message_id, str(timestamp), body)}" for key in keys)


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt; without keys there is no signature header."""
    headers = {ID_HEADER: message_id, TIMESTAMP_HEADER: str(timestamp)}
    if keys:
        headers[SIGNATURE_HEADER] = sign(keys, message_id, timestamp, body)
    return headers


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float) -> None:
    """Raise SignatureError unless one of the keys signed the body at most `TOLERANCE_S` from now.

    headers: names in lower case. Comparisons take the same time wherever texts differ.
    """
    missing = [name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if not headers.get(name)]
    if missing:
        raise SignatureError(f"header {missing[0]!r} is missing")
    timestamp = headers[TIMESTAMP_HEADER]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS):
        raise SignatureError(f"header {TIMESTAMP_HEADER!r} is no number of seconds")
    age_s = now_s - int(timestamp)
    if abs(age_s) > TOLERANCE_S:
        side = "old" if age_s > 0 else "ahead of this clock"
        raise SignatureError(f"the timestamp is {abs(age_s):.0f} s {side}, at most {TOLERANCE_S} are allowed")
    given = [part.encode("utf-8", "backslashreplace") for part in headers[SIGNATURE_HEADER].split(" ")[:MAX_SIGNATURES]]
    expected = [f"v1,{_digest(key, headers[ID_HEADER], timestamp, body)}".encode("ascii") for key in keys]
    matches = [hmac.compare_digest(one, other) for one in given for other in expected]
    if not any(matches):
        raise SignatureError("no signature matches: another secret, or the body was changed")


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((message_id.encode("utf-8", "backslashreplace"), timestamp.encode("ascii"), body))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")
