"""What SQLite reports when a disk breaks."""

from __future__ import annotations

import apsw


def io_error(extended_code: int) -> apsw.IOError:
    """The error of one SQLITE_IOERR_..., as apsw raises it."""
    error = apsw.exception_for(extended_code)
    assert isinstance(error, apsw.IOError)
    return error
