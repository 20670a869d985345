"""The dashboard over TLS, with the certificate that grpc shows too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.server.http.dashboard.stage import WIDE, Stage, Visit
from tests.support.certificates import Authority, needs_openssl
from upbeat_server.config import Tls

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_openssl


def test_the_page_lives_over_tls(browser: Browser, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("server")
    stage = Stage(tls=Tls(cert_file=pair.cert, key_file=pair.key)).open()
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce", ignore_https_errors=True)
    try:
        visit = Visit(context, stage)
        page = visit.go("overview")
        assert page.url.startswith("https://")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        page.get_by_label("Namespace").fill("other")
        page.get_by_label("Namespace").press("Enter")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        assert visit.complaints == []
    finally:
        context.close()
        stage.close()


def test_a_browser_that_does_not_trust_the_certificate_is_not_let_through(
    browser: Browser, tmp_path: Path
) -> None:
    pair = Authority(tmp_path).issue("server")
    stage = Stage(tls=Tls(cert_file=pair.cert, key_file=pair.key)).open()
    context = browser.new_context()
    try:
        with pytest.raises(Exception, match="ERR_CERT_AUTHORITY_INVALID"):
            context.new_page().goto(stage.url)
    finally:
        context.close()
        stage.close()
