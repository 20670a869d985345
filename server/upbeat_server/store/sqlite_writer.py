"""The one thread that writes: commits in groups, purges, adopts, checkpoints.

Everything that was asked while a transaction was in flight is committed in the next one.
After an error whose outcome is unknown the writer refuses everything until the store is
opened anew: what is in the file then, and only that, is what happened.
"""

from __future__ import annotations

import errno
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

import apsw

from upbeat_server.store.sqlite_frame import Frame, frame_of
from upbeat_server.store.sqlite_schema import BUSY_TIMEOUT_MS
from upbeat_server.store.store import (
    NamespaceBatch,
    OutcomeUnknown,
    StaleEpoch,
    StoreError,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP_BYTES_MAX = 32 << 20
"""What one transaction takes of the calls that wait; a larger single call goes alone."""

CHECKPOINT_PAGES = 2_000
"""Pages written between two checkpoints."""

WAL_PAGES_MAX = 16_000
"""Beyond this the log is cut, if no reader is in the way for longer than CUT_WAIT_MS."""

CUT_WAIT_MS = 100
"""Our own readers let go sooner. A backup does not, and no commit waits for it: the log grows instead."""

_WRITE_TURN = "insert into turn values (?, ?, ?, ?, ?, ?)"
_SURELY_UNDONE = (apsw.FullError, apsw.ReadOnlyError, apsw.LockedError, apsw.CantOpenError)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_T = TypeVar("_T")


class _Job:
    """One thing to do on the writing thread: a commit if it has batches."""

    def __init__(
        self,
        batches: list[NamespaceBatch] | None,
        frame: Frame | None = None,
        work: Callable[[apsw.Connection], Any] | None = None,
    ) -> None:
        self.batches = batches
        self.frame = frame  # Of the batches, for when nothing else is written with them.
        self.work = work
        self.size = 0 if frame is None else frame.size
        self.done: Future[Any] = Future()


class Writer:
    """Owns the writing connection from construction until ``stop`` has been awaited."""

    def __init__(self, connection: apsw.Connection, namespace_ids: dict[str, int]) -> None:
        self._connection = connection
        self._namespace_ids = namespace_ids
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._next: _Job | None = None  # Taken from the queue and not fit for the last group.
        self._broken = ""  # Why the outcome of a transaction is unknown.
        self._pages = 0  # Written since the last whole checkpoint.
        self._thread = threading.Thread(target=self._run, name="upbeat-store-writer", daemon=True)
        self._thread.start()

    def commit(self, batches: list[NamespaceBatch]) -> Future[None]:
        """Ask for a commit.

        Its frame is made here: the writing thread would have to wait for the interpreter lock again and
        again, and whoever asks would have to wait for it all the same.
        """
        job = _Job(batches, frame_of(batches, self._namespace_ids))
        self._jobs.put(job)
        return job.done

    def run(self, work: Callable[[apsw.Connection], _T]) -> Future[_T]:
        """Ask for something else, in its turn; ``work`` is one transaction by itself."""
        job = _Job(None, work=work)
        self._jobs.put(job)
        return cast("Future[_T]", job.done)

    def stop(self) -> None:
        """Finish what was asked, checkpoint, close the connection. Blocks; call it once, and last."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._next or self._jobs.get()) is not None:
            self._next = None
            if job.batches is None:
                if job.done.set_running_or_notify_cancel():
                    self._perform(job)
            else:
                self._commit(self._group(job))
            self._checkpoint()
        if not self._broken:
            self._truncate()
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._connection.close()

    def _group(self, first: _Job) -> list[_Job]:
        """The first commit and those that wait behind it."""
        jobs, size = [first], first.size
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is None or job.batches is None or size + job.size > GROUP_BYTES_MAX:
                self._hold(job)
                break
            jobs.append(job)
            size += job.size
        return [job for job in jobs if job.done.set_running_or_notify_cancel()]

    def _hold(self, job: _Job | None) -> None:
        if job is None:
            self._jobs.put(None)  # Nothing is asked after it.
        else:
            self._next = job

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all; if one of several is stale, one for each."""
        try:
            self._write(jobs)
        except StaleEpoch as error:
            if len(jobs) == 1:
                jobs[0].done.set_exception(error)
            else:
                for job in jobs:
                    self._commit([job])
        except StoreError as error:
            for job in jobs:
                job.done.set_exception(error)
        else:
            for job in jobs:
                job.done.set_result(None)

    def _write(self, jobs: list[_Job]) -> None:
        batches = [batch for job in jobs for batch in job.batches or ()]
        if not batches:
            return
        self._check_whole()
        frame = jobs[0].frame if len(jobs) == 1 else None
        try:
            frame = frame or frame_of(batches, self._namespace_ids)
            self._connection.execute(_WRITE_TURN, frame.bindings())
        except Exception as error:
            raise self._write_error(error) from error

    def _perform(self, job: _Job) -> None:
        if job.work is None:
            return
        try:
            self._check_whole()
            result = job.work(self._connection)
        except Exception as error:
            job.done.set_exception(self._write_error(error))
        else:
            job.done.set_result(result)

    def _check_whole(self) -> None:
        if self._broken:
            raise OutcomeUnknown(self._broken)

    def _write_error(self, error: Exception) -> StoreError:
        """What a failed transaction means to who asked for it.

        What is not known to be harmless is an unknown outcome: to open and adopt anew is right
        after anything, to try again is not.
        """
        if isinstance(error, StoreError):
            return error
        if isinstance(error, apsw.ConstraintError) and "stale epoch" in str(error):
            return StaleEpoch("another owner has adopted the namespace")
        if isinstance(error, apsw.BusyError):
            return StoreUnavailable(
                f"the store cannot be written now, another program locks it ({error}): end it"
            )
        if isinstance(error, _SURELY_UNDONE) or self._is_out_of_room(error):
            return StoreUnavailable(f"the store cannot be written now ({error})")
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            self._broken = f"the store is damaged ({error}): restore it from a backup"
        else:
            self._broken = f"a commit failed half way ({error}): open the store anew"
        return OutcomeUnknown(self._broken)

    def _is_out_of_room(self, error: Exception) -> bool:
        """Whether a write found no room. The mark of a commit is written last, so there is none."""
        return (
            isinstance(error, apsw.IOError)
            and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE
            and self._connection.system_errno in _NO_ROOM
        )

    def _checkpoint(self) -> None:
        """Move the log into the file when it has grown; cut it when readers let it grow too long."""
        written, _ = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, True)
        self._pages += written
        if self._pages < CHECKPOINT_PAGES or self._broken:
            return
        try:
            pages, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error:
            return  # The log holds it all; the next commit tells whether the disk is well.
        self._pages = 0
        if pages > WAL_PAGES_MAX:
            self._truncate()

    def _truncate(self) -> None:
        self._connection.set_busy_timeout(CUT_WAIT_MS)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            return  # As above; a log that stays is read at the next start.
        finally:
            self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)
