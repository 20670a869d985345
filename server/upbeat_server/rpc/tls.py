"""Certificates of the server, read again when their files change.

grpc asks for the current pair on every handshake, on a thread of its own: the
answer comes from memory, and the files are looked at once a second at most. A
pair that cannot be used is logged and the one before it stays, so that a
half-written renewal never takes the server down.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING, Any, Final

import grpc
import structlog

from upbeat_server.clock import stopwatch_s

if TYPE_CHECKING:
    from pathlib import Path

    from upbeat_server.config import Tls

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S: Final = 1.0


class CertificateInvalid(Exception):
    """The certificate files cannot be used; the text says which and why."""


class Certificates:
    """The server's key, certificate chain and client CA, as they are now."""

    def __init__(self, tls: Tls) -> None:
        if tls.cert_file is None or tls.key_file is None:
            raise CertificateInvalid("tls.cert_file and tls.key_file are not set")
        self.cert_file = tls.cert_file
        self.key_file = tls.key_file
        self.client_ca_file = tls.client_ca_file
        self._lock = threading.Lock()
        self._stamp = self._files_stamp()
        self._checked_s = stopwatch_s()
        self.generation = 0  # Rises with every pair that was taken.
        self._configuration = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for a grpc port."""
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._configuration, self.current, require_client_authentication=self.client_ca_file is not None
        )
        return credentials

    def current(self) -> Any:
        """The certificate configuration to use for the next handshake. Called from any thread."""
        with self._lock:
            now_s = stopwatch_s()
            if now_s - self._checked_s >= CHECK_INTERVAL_S:
                self._checked_s = now_s
                self._reload()
            return self._configuration

    def reload(self) -> None:
        """Read the files again if they changed."""
        with self._lock:
            self._reload()

    def ssl_context(self) -> ssl.SSLContext:
        """A context for servers that are not grpc; it follows the files too. Raises CertificateInvalid."""
        context = self._load()
        generation, latest = self.generation, context

        def follow(connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
            nonlocal generation, latest
            self.current()
            if generation != self.generation:
                generation, latest = self.generation, self._load()
            connection.context = latest

        context.sni_callback = follow  # Called in every handshake, with or without a name.
        return context

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
            raise CertificateInvalid(
                f"{self.cert_file} and {self.key_file} are not a certificate and its key: {_why(error)}"
            ) from None
        if self.client_ca_file is not None:
            try:
                context.load_verify_locations(self.client_ca_file)
            except (OSError, ValueError) as error:
                raise CertificateInvalid(
                    f"{self.client_ca_file} holds no certificate: {_why(error)}"
                ) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _reload(self) -> None:
        stamp = self._files_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._configuration = self._read()
        except CertificateInvalid as error:
            log.exception("certificate_unusable", error=str(error))
        else:
            log.info("certificate_read", cert_file=str(self.cert_file))

    def _read(self) -> Any:
        # grpc takes whatever it is given and fails at each handshake: openssl says first whether it fits.
        self._load()
        roots = _bytes(self.client_ca_file) if self.client_ca_file is not None else None
        pair = (_bytes(self.key_file), _bytes(self.cert_file))
        self.generation += 1
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    def _files_stamp(self) -> tuple[tuple[int, int, int], ...]:
        paths = (self.cert_file, self.key_file, self.client_ca_file)
        return tuple(_stamp(path) for path in paths if path is not None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateInvalid(f"{path} cannot be read: {error.strerror}") from None


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _no_password() -> str:
    """Keys with a password are refused; asking for it on the terminal would hang a service."""
    raise ValueError("the key is protected by a password, which the server cannot ask for")


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
