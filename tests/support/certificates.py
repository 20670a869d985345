"""Certificates of a test's own authority, made with the openssl command."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None,
    reason="the openssl command is not installed: no certificates for the test",
)


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates for localhost in a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(self._pair.key), "-out", str(self._pair.cert), "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign"),
        )

    @property
    def cert(self) -> Path:
        """The certificate that clients trust."""
        return self._pair.cert

    def issue(self, name: str) -> Pair:
        """A certificate for localhost with ``name`` as its subject."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(pair.key), "-out", str(request), "-subj", f"/CN={name}"),
        )
        _openssl(
            *(
                "x509",
                "-req",
                "-in",
                str(request),
                "-CA",
                str(self._pair.cert),
                "-CAkey",
                str(self._pair.key),
            ),
            *("-CAcreateserial", "-out", str(pair.cert), "-days", "2", "-extfile", str(extensions)),
        )
        return pair


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"openssl {arguments[0]}: {done.stderr}")


def install(issued: Pair, pair: Pair) -> None:
    """Put other files under the names that the server looks at."""
    for source, target in ((issued.cert, pair.cert), (issued.key, pair.key)):
        before = target.stat().st_mtime_ns if target.exists() else 0
        shutil.copyfile(source, target)
        os.utime(target, ns=(before + 1_000_000_000, before + 1_000_000_000))
