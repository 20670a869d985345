"""Page tokens."""

from __future__ import annotations

import pytest

from upbeat_server.engine import reasons
from upbeat_server.rpc.page_token import PageTokens, read_page_size
from upbeat_server.runtime.refused import Refused

LISTING = ("tasks", "default", "", "asc")


def test_a_token_reads_back_in_its_own_listing_only() -> None:
    tokens = PageTokens(b"key")
    token = tokens.make(LISTING, "00ff")
    assert tokens.read(LISTING, token) == "00ff"
    assert tokens.read(LISTING, "") == ""
    for listing in (("tasks", "default", "", "desc"), ("tasks", "defaul", "t", "asc"), ("agents",)):
        with pytest.raises(Refused):
            tokens.read(listing, token)


@pytest.mark.parametrize("token", ["A", "AAAA", "é", "!!", "A" * 2_000, "AAAA=AAA"])
def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(Refused) as caught:
        PageTokens(b"key").read(LISTING, token)
    assert caught.value.refusal.reason == reasons.INVALID_PAGE_TOKEN


def test_a_changed_position_or_another_key_is_refused() -> None:
    token = PageTokens(b"key").make(LISTING, "1234")
    with pytest.raises(Refused):
        PageTokens(b"other").read(LISTING, token)
    for place in range(len(token) - 1):  # The last character has bits that say nothing.
        forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(Refused):
            PageTokens(b"key").read(LISTING, forged)


def test_a_page_size_has_a_default_and_a_most() -> None:
    assert [read_page_size(size, 50, 1_000) for size in (0, 7, 5_000)] == [50, 7, 1_000]
    with pytest.raises(Refused):
        read_page_size(-1, 50, 1_000)
