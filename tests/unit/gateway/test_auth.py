"""Tokens: what they prove, and everything that is none."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import jwt
import pytest

from gateway.auth import AUDIENCE, ISSUER, AdminAuth, Grant, Tokens
from undying.protocol.errors import Code, UndyingError
from undying.protocol.ids import Role

SECRET = b"k" * 32
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ann",
    "iat": 1000,
    "exp": 1060,
    "jti": "j1",
    "session": "s1",
    "name": "Ann",
    "role": "player",
    "purpose": "join",
    "client": "",
    "issued_ms": 1000_000,
}


def tokens(now_s: float = 1000) -> Tokens:
    numbers = iter(range(100))
    return Tokens(SECRET, lambda: now_s, lambda: f"j{next(numbers)}")


def failure(token: str, now_s: float = 1000) -> Code:
    with pytest.raises(UndyingError) as refused:
        tokens(now_s).read(token)
    return refused.value.failure.code


def signed(**changes: object) -> str:
    claims = {key: value for key, value in {**CLAIMS, **changes}.items() if value is not ...}
    return jwt.encode(claims, SECRET, "HS256")


def part(value: object) -> str:
    raw = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(raw.encode()).rstrip(b"=").decode()


def test_a_join_token_says_who_joins_what_as_what_and_since_when() -> None:
    token = tokens(1000.9).join_token("s1", "ann", "Ann é", Role.AGENT, 60)
    assert tokens(1059.9).read(token) == Grant("s1", "ann", "Ann é", Role.AGENT, 1000_900, "join", "")


def test_the_time_of_an_invitation_is_finer_than_a_second_and_that_of_its_token_a_numeric_date() -> None:
    earlier, later = (tokens(now_s).join_token("s1", "ann", "Ann", Role.PLAYER, 60) for now_s in (1000.25, 1000.251))
    assert tokens().read(later).issued == tokens().read(earlier).issued + 1
    assert jwt.decode(later, options={"verify_signature": False})["iat"] == 1000


def test_a_resume_token_is_new_each_time_and_good_from_now_on() -> None:
    grant = Grant("s1", "ann", "Ann", Role.PLAYER, 500, "join", "c7")
    signer = tokens(1000)
    first, second = signer.resume_token(grant, 60), signer.resume_token(grant, 60)
    assert first != second
    assert tokens(1059.9).read(first).purpose == "resume"
    assert failure(first, 1060) is Code.TOKEN_EXPIRED


def test_a_resume_token_made_after_a_removal_still_goes_back_to_the_invitation_before_it() -> None:
    grant = tokens(500).read(tokens(500).join_token("s1", "ann", "Ann", Role.PLAYER, 10_000))
    for now_s in (1000, 2000):  # each welcome makes one from the last
        grant = tokens(now_s).read(tokens(now_s).resume_token(replace(grant, client="c7"), 60))
        assert grant == Grant("s1", "ann", "Ann", Role.PLAYER, 500_000, "resume", "c7")


@pytest.mark.parametrize(("now_s", "good"), [(1059.999, True), (1060, False), (10**12, False)])
def test_a_token_is_good_until_its_last_second_ends(now_s: float, good: bool) -> None:
    if good:
        assert tokens(now_s).read(signed()).user == "ann"
    else:
        assert failure(signed(), now_s) is Code.TOKEN_EXPIRED


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_every_claim_is_required(claim: str) -> None:
    assert failure(signed(**{claim: ...})) is Code.NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"aud": [AUDIENCE + "x"]},
        {"iss": "other"},
        {"sub": "../x"},
        {"sub": "x" * 65},
        {"session": "a:b"},
        {"session": 7},
        {"name": ""},
        {"name": "x" * 65},
        {"name": ["Ann"]},
        {"role": "system"},
        {"role": "king"},
        {"role": 1},
        {"purpose": "admin"},
        {"purpose": []},
        {"client": "x" * 65},
        {"client": None},
        {"issued_ms": "1000"},
        {"issued_ms": True},
        {"issued_ms": None},
        {"issued_ms": 0.5},
        {"exp": "1060"},
        {"exp": 1e400},
        {"exp": [1060]},
    ],
)
def test_a_claim_out_of_shape_is_not_authenticated_although_signed(changes: dict[str, object]) -> None:
    assert failure(signed(**changes)) is Code.NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\x00",
        "x" * 4097,
        jwt.encode(CLAIMS, "", "none"),
        jwt.encode(CLAIMS, b"o" * 32, "HS256"),
        jwt.encode(CLAIMS, SECRET * 2, "HS512"),
        f"{part({'alg': 'none'})}.{part(CLAIMS)}.",
        f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': {'a': 1}})}.{part(CLAIMS)}.AAAA",
        f"{part('[' * 2900)}.{part(CLAIMS)}.AAAA",
        f"{part('7')}.{part(CLAIMS)}.AAAA",
        signed()[:-2],
        signed() + "A",
        signed() + "." + signed(),
    ],
)
def test_what_we_did_not_sign_is_not_authenticated(token: str) -> None:
    assert failure(token) is Code.NOT_AUTHENTICATED


def test_a_forged_token_does_not_learn_that_it_has_expired_too() -> None:
    forged = jwt.encode({**CLAIMS, "exp": 1}, b"o" * 32, "HS256")
    assert failure(forged) is Code.NOT_AUTHENTICATED


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Tokens(b"k" * 31, lambda: 0)


def test_only_the_admin_token_is_the_admin_token() -> None:
    admin = AdminAuth("correct-horse")
    admin.check("correct-horse")
    for wrong in ("", "correct-hors", "correct-horse ", "Correct-horse", "é", "\ud800"):
        with pytest.raises(UndyingError) as refused:
            admin.check(wrong)
        assert refused.value.failure.code is Code.NOT_AUTHENTICATED


def test_an_empty_admin_token_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        AdminAuth("")
