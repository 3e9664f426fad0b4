"""Standard Webhooks signatures: the specification's own example, key rotation, and what must be refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.signature import (
    SignatureError,
    new_secret,
    secret_key,
    sign,
    signed_headers,
    verify,
)
from watchdog.core.errors import SecretError

# The example that the Standard Webhooks libraries test themselves with
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIME, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
KEY = secret_key(SECRET)


def headers(**changed: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in changed.items()}
    return signed_headers([KEY], ID, TIME, BODY) | named


def test_the_example_of_the_specification_is_signed_alike() -> None:
    assert sign([KEY], ID, TIME, BODY) == SIGNATURE


def test_what_is_signed_is_verified_within_five_minutes_both_ways() -> None:
    for now in (TIME - 300, TIME, TIME + 300):
        verify([KEY], headers(), BODY, now)
    for now, side in ((TIME - 301, "ahead of this clock"), (TIME + 301, "old")):
        with pytest.raises(SignatureError, match=side):
            verify([KEY], headers(), BODY, now)


def test_while_a_key_is_changed_either_key_verifies() -> None:
    new, old = secret_key(new_secret()), KEY
    both = signed_headers([new, old], ID, TIME, BODY)
    assert both["webhook-signature"].split(" ")[1] == SIGNATURE
    verify([old], both, BODY, TIME)
    verify([new], both, BODY, TIME)
    verify([secret_key(new_secret()), new], both, BODY, TIME)
    with pytest.raises(SignatureError, match="no signature matches"):
        verify([secret_key(new_secret())], both, BODY, TIME)


def test_other_versions_of_signatures_beside_ours_are_passed_over() -> None:
    verify([KEY], headers(webhook_signature=f"v1a,AAAA v2,{SIGNATURE[3:]} {SIGNATURE}"), BODY, TIME)
    with pytest.raises(SignatureError):
        verify([KEY], headers(webhook_signature=f"v2,{SIGNATURE[3:]}"), BODY, TIME)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"webhook_id": ""}, "header 'webhook-id' is missing"),
        ({"webhook_id": "msg_other"}, "no signature matches"),
        ({"webhook_timestamp": str(TIME + 1)}, "no signature matches"),
        ({"webhook_timestamp": "soon"}, "no number of seconds"),
        ({"webhook_timestamp": "1" * 400}, "no number of seconds"),
        ({"webhook_timestamp": "١٦١٤٢٦٥٣٣٠"}, "no number of seconds"),
        ({"webhook_signature": ""}, "header 'webhook-signature' is missing"),
        ({"webhook_signature": "v1,é"}, "no signature matches"),
        ({"webhook_signature": " ".join(["v1,A"] * 16 + [SIGNATURE])}, "no signature matches"),
    ],
)
def test_changed_headers_are_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(SignatureError, match=message):
        verify([KEY], headers(**changed), BODY, TIME)


@given(st.binary(max_size=64), st.binary(min_size=1, max_size=8))
def test_any_other_body_is_refused(body: bytes, more: bytes) -> None:
    signed = signed_headers([KEY], ID, TIME, body)
    verify([KEY], signed, body, TIME)
    with pytest.raises(SignatureError):
        verify([KEY], signed, body + more, TIME)


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text(max_size=40)))
def test_verifying_is_total(odd: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        verify([KEY], odd, BODY, TIME)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("letmein", "begins with 'whsec_'"),
        ("whsec_letme!n", "no base64"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "24 to 64 bytes, this one 23"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes, this one 65"),
    ],
)
def test_a_wrong_secret_is_refused_without_being_shown(text: str, message: str) -> None:
    with pytest.raises(SecretError, match=message) as caught:
        secret_key(text)
    assert text.removeprefix("whsec_") not in str(caught.value)


def test_new_secrets_are_secrets_and_differ() -> None:
    assert len(secret_key(new_secret())) == 32
    assert new_secret() != new_secret()


def test_without_keys_there_is_no_signature_header() -> None:
    assert signed_headers([], ID, TIME, BODY) == {"webhook-id": ID, "webhook-timestamp": str(TIME)}
