"""The files of the dashboard over a real port: caching, policy, and that an installation has all of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.support.http_call import get
from upbeat_server.config import Address
from upbeat_server.http.dashboard import Dashboard
from upbeat_server.http.server import HttpServer

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "server" / "upbeat_server" / "http" / "page"
VENDORED = json.loads((Path(__file__).parent / "dashboard" / "vendored.json").read_text(encoding="utf-8"))
LINES_MAX = 300


def own(*suffixes: str) -> list[Path]:
    """The files that were written here."""
    found = [path for path in PAGE.rglob("*") if path.suffix in suffixes]
    return sorted(path for path in found if not path.is_relative_to(PAGE / "vendor"))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = HttpServer(Dashboard(), Address("127.0.0.1", 0), None)
    server.start()
    try:
        yield server.port
    finally:
        await server.stop()


async def test_the_page_is_at_the_root_and_allows_nothing_from_elsewhere(port: int) -> None:
    answer = await get(port, "/")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "data:" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_unchanged_file_costs_a_header_and_a_changed_one_is_sent(port: int) -> None:
    first = await get(port, "/main.js")
    assert first.headers["cache-control"] == "no-cache"
    etag = first.headers["etag"]
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        again = await get(port, "/main.js", if_none_match=known)
        assert (again.status, again.body) == (304, "")
        assert again.headers["etag"] == etag
    assert (await get(port, "/main.js", if_none_match='"other"')).body == first.body


async def test_a_browser_that_can_unpack_is_sent_less(port: int) -> None:
    plain = await get(port, "/vendor/uplot/uPlot.esm.js")
    length = int(plain.headers["content-length"])
    packed = await get(port, "/vendor/uplot/uPlot.esm.js", accept_encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    assert int(packed.headers["content-length"]) < length / 3


@pytest.mark.parametrize(
    "path", ["/vendor/uplot/LICENSE", "/../dashboard.py", "/page/main.js", "/vendor", "/x"]
)
async def test_what_is_no_part_of_the_page_is_not_served(port: int, path: str) -> None:
    assert (await get(port, path)).status == 404


def test_every_file_that_a_module_or_the_page_names_is_served() -> None:
    paths = Dashboard().paths
    missing = []
    for file in own(".js", ".html"):
        text = file.read_text(encoding="utf-8")
        names = re.findall(r'(?:from|import) "(\.[^"]+)"|(?:href|src)="([^"#$]+)"', text)
        for relative, linked in names:
            target = (file.parent / relative if relative else PAGE / linked).resolve()
            if f"/{target.relative_to(PAGE.resolve()).as_posix()}" not in paths:
                missing.append(f"{file.relative_to(PAGE)}: {relative or linked}")
    assert missing == []


def test_nothing_is_written_into_the_page_that_its_policy_forbids() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", html) == []
    scripts = [path for path in own(".js") if re.search(r"\bstyle=[\"']", path.read_text(encoding="utf-8"))]
    assert scripts == []


@pytest.mark.parametrize("library", sorted(VENDORED))
def test_a_library_is_unchanged_complete_and_beside_its_licence(library: str) -> None:
    folder = PAGE / "vendor" / library
    files = [path for path in folder.rglob("*") if path.is_file()]
    digests = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    assert digests == VENDORED[library]["sha256"]
    assert "LICENSE" in digests
    table = (PAGE / "vendor" / "README.md").read_text(encoding="utf-8")
    assert re.search(
        rf"\[{library}\][^|]*\| {re.escape(VENDORED[library]['version'])} \|", table, re.IGNORECASE
    )


def test_a_wheel_holds_the_whole_page_and_the_licences() -> None:
    builder = WheelBuilder(str(ROOT))
    packed = {Path(file.distribution_path).as_posix() for file in builder.recurse_included_files()}
    wanted = [path for path in PAGE.rglob("*") if path.is_file()]
    assert [
        path
        for path in wanted
        if f"upbeat_server/http/page/{path.relative_to(PAGE).as_posix()}" not in packed
    ] == []


def test_modules_are_short_and_say_what_they_are_for() -> None:
    texts = {
        path.relative_to(PAGE).as_posix(): path.read_text(encoding="utf-8") for path in own(".js", ".css")
    }
    assert [name for name, text in texts.items() if text.count("\n") > LINES_MAX] == []
    assert [name for name, text in texts.items() if not text.startswith(("// ", "/* "))] == []
    assert [
        name for name, text in texts.items() if re.search(r"\bconsole\.|\bdebugger\b|\bwindow\.\w+ =", text)
    ] == []
