"""Tokens: what a file may say, who is known by it, and that it is followed."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from upbeat_server.engine import reasons
from upbeat_server.rpc import tokens
from upbeat_server.rpc.identity import ANONYMOUS, GRANTS, Identity, OpenDoor, Role
from upbeat_server.rpc.tokens import TokenFileBook, TokensInvalid, parse_tokens, read_tokens
from upbeat_server.runtime.refused import Refused

SECRET = "a-token-of-the-tests"
OTHER = "another-token-of-tests"


def entry(**changes: str) -> str:
    """One table of a TOML file."""
    fields = {"name": '"ci"', "token": f'"{SECRET}"', "roles": '["submitter"]'} | changes
    return "[[tokens]]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A tokens file with one token."""
    path = tmp_path / "tokens.toml"
    path.write_text(entry())
    path.chmod(0o600)
    return path


def write(path: Path, text: str) -> None:
    """Change the file so that even a coarse clock shows it."""
    before = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


def reason(book: tokens.TokenBook | TokenFileBook, authorization: str | None) -> str:
    """Why a caller is refused; empty if it is not."""
    try:
        book.identify(authorization)
    except Refused as error:
        return error.refusal.reason
    return ""


def test_a_known_token_gives_its_identity(file: Path) -> None:
    identity = read_tokens(file).identify(f"Bearer {SECRET}")
    assert identity == Identity("ci", frozenset((Role.VIEWER, Role.SUBMITTER)), frozenset(("default",)))


def test_the_scheme_is_read_in_any_case(file: Path) -> None:
    assert read_tokens(file).identify(f"bearer  {SECRET} ").name == "ci"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", SECRET, f"Basic {SECRET}", f"Bearer {SECRET}x", "Bearer \x00"],
)
def test_whoever_shows_no_known_token_is_refused(file: Path, authorization: str | None) -> None:
    assert reason(read_tokens(file), authorization) == reasons.TOKEN_INVALID


def test_every_token_is_compared_whichever_fits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return known == given

    file.write_text(entry() + entry(name='"b"', token=f'"{OTHER}"'))
    book = read_tokens(file)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    book.identify(f"Bearer {SECRET}")
    book.identify(f"Bearer {OTHER}")
    assert len(compared) == 4


def test_a_digest_serves_in_place_of_the_token(tmp_path: Path) -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    path = tmp_path / "tokens.toml"
    path.write_text(entry(token="", sha256=f'"{digest}"', namespaces='["*"]'))
    assert read_tokens(path).identify(f"Bearer {SECRET}").may_enter("anywhere")


def test_json_says_the_same_as_toml(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(f'{{"tokens": [{{"name": "ci", "token": "{SECRET}", "roles": ["admin"]}}]}}')
    assert read_tokens(path).identify(f"Bearer {SECRET}").roles == frozenset(Role)


def test_the_environment_may_hold_just_the_list() -> None:
    book = parse_tokens(f'[{{"name": "ci", "token": "{SECRET}", "roles": ["agent"]}}]', "auth.tokens")
    assert book.identify(f"Bearer {SECRET}").roles == {Role.AGENT}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "tokens"),
        ("tokens = []", "names no token"),
        ("[[tokens", "not TOML"),
        (entry(token='"short"'), "16 to"),
        (entry(token='"with a space in the middle"'), "printable"),
        (entry(token=""), "either token or sha256"),
        (entry(token="", sha256='"abc"'), "64 hexadecimal"),
        (entry(roles='["king"]'), "viewer, submitter, agent, admin"),
        (entry(roles="[]"), "viewer, submitter, agent, admin"),
        (entry(namespaces="[]"), "namespaces"),
        (entry(colour='"red"'), "colour"),
        (entry() + entry(name='"again"'), "repeats"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_without_its_tokens(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(TokensInvalid, match=what) as caught:
        read_tokens(path)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(TokensInvalid, match="cannot be read"):
        read_tokens(tmp_path / "nothing.toml")


def test_a_changed_file_is_followed(file: Path) -> None:
    book = TokenFileBook(file)
    write(file, entry(token=f'"{OTHER}"'))
    book.reload()
    assert reason(book, f"Bearer {SECRET}") == reasons.TOKEN_INVALID
    assert book.identify(f"Bearer {OTHER}").name == "ci"


def test_a_broken_file_leaves_the_tokens_before_it(file: Path) -> None:
    book = TokenFileBook(file)
    write(file, "[[tokens")
    book.reload()
    assert book.identify(f"Bearer {SECRET}").name == "ci"


def test_the_file_is_looked_at_again_when_somebody_calls(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(tokens, "stopwatch_s", lambda: now_s[0])
    book = TokenFileBook(file)
    write(file, entry(token=f'"{OTHER}"'))
    assert reason(book, f"Bearer {OTHER}") == reasons.TOKEN_INVALID
    now_s[0] = tokens.CHECK_INTERVAL_S
    assert reason(book, f"Bearer {OTHER}") == ""


def test_roles_include_what_they_say_and_no_more() -> None:
    assert GRANTS[Role.ADMIN] == frozenset(Role)
    assert Role.VIEWER in GRANTS[Role.SUBMITTER]
    assert GRANTS[Role.AGENT] == {Role.AGENT}
    assert GRANTS[Role.VIEWER] == {Role.VIEWER}


def test_without_tokens_everybody_is_anonymous_and_may_do_everything() -> None:
    assert OpenDoor().identify("Bearer whatever") is ANONYMOUS
    assert ANONYMOUS.roles == frozenset(Role)
    assert ANONYMOUS.may_enter("anywhere")
