"""`Connection`: sends requests in either mode, opens channels anew where they are broken, and counts."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import grpc

from session_continuity import (
    FirstLoop,
    LoopBound,
    Mode,
    SessionContinuityError,
    StorageClosedError,
    StorageError,
    UnavailableError,
    backoff,
    retry_delays,
    sleeper,
)
from session_continuity_firestore.config import FirestoreOptions
from session_continuity_firestore.requests.channels import Channel, channel_of, is_emulated, metadata, opener
from session_continuity_firestore.requests.errors import (
    CLOSED_DURING_CALL,
    Code,
    GaveUpError,
    code_of,
    is_conflict,
    is_missing,
    is_throttled,
    is_unanswered,
    was_not_sent,
)
from session_continuity_firestore.wire import messages as wire

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
_WRITE_ATTEMPTS = 4


@dataclass
class Meter:
    """What was sent, and what Firestore bills for it: documents read, written and deleted."""

    requests: int = 0
    reads: int = 0
    writes: int = 0
    deletes: int = 0


class Connection:
    """Sends requests to one database.

    It opens a channel at the first request; in async mode one for each event loop. A channel on which a request was not
    answered in time is replaced, because gRPC does not notice a dead connection. A channel that was passed in is not
    replaced and not closed. Channels of a parent process are not used after a fork.
    """

    def __init__(
        self,
        open_channel: Callable[[], Channel],
        mode: Mode,
        database: str,
        options: FirestoreOptions,
        *,
        owned: bool,
        emulated: bool,
    ) -> None:
        self.mode: Mode = mode
        self.database = database
        self.meter = Meter()
        self.max_attempts = options.max_attempts
        self._open = open_channel
        self._owned = owned
        self._timeout = options.timeout
        self._deadline = options.retry_deadline
        self._metadata = metadata(database, emulated=emulated)
        self._sleep = sleeper(mode)
        self._first_loop = FirstLoop()
        self._by_loop = LoopBound(self._open_in_loop, _close_in_loop) if mode == "async" and owned else None
        self._channels: dict[bool, Channel] = {}
        self._process = os.getpid()
        self._closed = False
        self._lock = threading.Lock()

    @classmethod
    def from_options(cls, options: FirestoreOptions, mode: Mode) -> Self:
        """The client of these options."""
        database = f"projects/{options.project}/databases/{options.database}"
        return cls(opener(options, mode), mode, database, options, owned=True, emulated=is_emulated(options))

    async def close(self) -> None:
        """Close the channels that were opened here. Later calls raise StorageClosedError."""
        with self._lock:
            channels, self._channels = self._channels, {}
            self._closed = True
        if self._by_loop is not None:
            await self._by_loop.close()
        elif self._owned and self._process == os.getpid():
            for channel in channels.values():
                if not channel.is_broken:
                    channel.native.close()

    async def get(self, name: str, fields: Sequence[str] | None = None) -> Any:
        """One document with these fields, all for None. None if there is none."""
        self.meter.reads += 1
        try:
            return await self._repeated("GetDocument", _get(name, fields))
        except grpc.RpcError as error:
            if is_missing(error):
                return None
            raise

    async def get_all(self, document_names: Iterable[str], fields: Sequence[str] | None = None) -> dict[str, Any]:
        """The documents that exist of these, by name."""
        listed = list(dict.fromkeys(document_names))
        self.meter.reads += len(listed)
        request = wire.BatchGetDocumentsRequest(database=self.database, documents=listed, mask=_mask(fields))
        answers = await self._repeated("BatchGetDocuments", request)
        return {answer.found.name: answer.found for answer in answers if answer.WhichOneof("result") == "found"}

    async def query(self, parent: str, query: Any) -> list[Any]:
        """The answers of a query, of which each may hold a document."""
        answers: list[Any] = await self._repeated(
            "RunQuery", wire.RunQueryRequest(parent=parent, structured_query=query)
        )
        self._count_found(answers)
        return answers

    async def query_and_get(
        self, parent: str, query: Any, name: str, fields: Sequence[str] | None = None
    ) -> tuple[list[Any], Any]:
        """The answers of a query, and a document or None, in one round trip without a thread."""
        self.meter.reads += 1
        request = wire.RunQueryRequest(parent=parent, structured_query=query)
        repeats = self._repeats()
        while True:
            try:
                answers, document = await self._begin_and_get(request, _get(name, fields))
                self._count_found(answers)
                return answers, document
            except grpc.RpcError as error:
                await repeats.pause(error)

    async def commit(self, writes: Sequence[Any]) -> list[Any]:
        """Make these writes, all or none. Returns the `updateTime` of each. It is not repeated here."""
        return [result.update_time for result in await self.commit_with_results(writes)]

    async def commit_with_results(self, writes: Sequence[Any]) -> Sequence[Any]:
        """`commit`, with the whole result of each write."""
        for write in writes:
            if write.WhichOneof("operation") == "delete":
                self.meter.deletes += 1
            else:
                self.meter.writes += 1
        response = await self._call("Commit", wire.CommitRequest(database=self.database, writes=writes))
        results: Sequence[Any] = response.write_results
        return results

    def attempts(self) -> Attempts:
        """Attempts at a write, with growing pauses between them."""
        pauses = backoff(
            self._sleep,
            deadline=self._deadline,
            first=_FIRST_PAUSE,
            longest=_LONGEST_PAUSE,
            min_attempts=_WRITE_ATTEMPTS,
        )
        return Attempts(pauses, self.max_attempts)

    def _repeats(self) -> _Repeats:
        delays = retry_delays(deadline=self._deadline, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        return _Repeats(self._sleep, delays, self.max_attempts)

    async def _repeated(self, name: str, request: Any) -> Any:
        """The answer to a read, which is repeated while it is not answered."""
        repeats = self._repeats()
        while True:
            try:
                return await self._call(name, request)
            except grpc.RpcError as error:
                await repeats.pause(error)

    async def _call(self, name: str, request: Any) -> Any:
        channel = await self._use()
        try:
            self.meter.requests += 1
            call = channel.calls[name](request, timeout=self._timeout, metadata=self._metadata)
            if self.mode == "async":
                return await call if name in _UNARY else [answer async for answer in call]
            return call if name in _UNARY else list(call)
        except BaseException as error:
            self._note(channel, error)
            if self._closed and _is_of_nobody(error):
                raise UnavailableError(CLOSED_DURING_CALL) from error
            raise
        finally:
            self._leave(channel)

    async def _begin_and_get(self, request: Any, get: Any) -> tuple[list[Any], Any]:
        """Begin the query, get the document, then read the query's answers: both are under way at once."""
        channel = await self._use()
        stream: Any = None
        try:
            self.meter.requests += 2
            stream = channel.calls["RunQuery"](request, timeout=self._timeout, metadata=self._metadata)
            document: Any = None
            try:
                document = channel.calls["GetDocument"](get, timeout=self._timeout, metadata=self._metadata)
                if self.mode == "async":
                    document = await document
            except grpc.RpcError as error:
                if not is_missing(error):
                    raise
                document = None
            answers = [answer async for answer in stream] if self.mode == "async" else list(stream)
            stream = None
            return answers, document
        except BaseException as error:
            self._note(channel, error)
            if self._closed and _is_of_nobody(error):
                raise UnavailableError(CLOSED_DURING_CALL) from error
            raise
        finally:
            if stream is not None:
                stream.cancel()
            self._leave(channel)

    def _count_found(self, answers: Sequence[Any]) -> None:
        self.meter.reads += max(1, sum(answer.HasField("document") for answer in answers))

    async def _use(self) -> Channel:
        """The channel for a request, which must be given back by `_leave`.

        Core refuses calls of a closed store. One that is under way may have sent requests before, so that its outcome
        is unknown: raises UnavailableError.
        """
        try:
            if self._by_loop is not None:
                slot: list[Channel] = await self._by_loop.get()
                if slot[0].is_retired:
                    await self._replace(slot)
                channel = slot[0]
            else:
                if self.mode == "async":
                    self._first_loop.check()
                channel = self._current()
        except StorageClosedError as error:
            raise UnavailableError(CLOSED_DURING_CALL) from error
        channel.running += 1
        return channel

    def _leave(self, channel: Channel) -> None:
        channel.running -= 1
        if channel.is_retired and not channel.is_broken and channel.running <= 0 and self.mode == "blocking":
            channel.native.close()

    def _note(self, channel: Channel, error: BaseException) -> None:
        """Use the channel for no more calls if this one was not answered in time, or was interrupted."""
        if not self._owned:
            return
        if not isinstance(error, grpc.RpcError):
            channel.is_retired = channel.is_broken = self.mode == "blocking"
        elif code_of(error) is Code.DEADLINE_EXCEEDED:
            channel.is_retired = True

    def _current(self) -> Channel:
        # Signal handlers run in the main thread. One that raises inside of gRPC can leave a lock of the channel taken,
        # so the main thread has a channel of its own, and the calls of other threads go on.
        is_main = threading.current_thread() is threading.main_thread()
        channel = self._channels.get(is_main)
        if channel is not None and not channel.is_retired and self._process == os.getpid():
            return channel
        with self._lock:
            if self._closed:
                raise StorageClosedError
            if self._process != os.getpid():
                self._channels, self._process = {}, os.getpid()
            channel = self._channels.get(is_main)
            if channel is None or channel.is_retired:
                channel = self._channels[is_main] = self._open()
            return channel

    async def _open_in_loop(self) -> list[Channel]:
        return [self._open()]

    async def _replace(self, slot: list[Channel]) -> None:
        old, slot[0] = slot[0], self._open()
        if old.running <= 0:
            await old.native.close()


_UNARY = frozenset({"GetDocument", "Commit"})


async def _close_in_loop(slot: list[Channel]) -> None:
    await slot[0].native.close()
    slot[0].calls.clear()


class _Repeats:
    """The repeated attempts at a read."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]], delays: Iterator[float], most: int) -> None:
        self._sleep = sleep
        self._delays = delays
        self._left = most - 1

    async def pause(self, error: grpc.RpcError) -> None:
        """Pause after this error. Raises it if the read is not to be repeated."""
        may_pass = is_unanswered(error) or is_throttled(error) or code_of(error) is Code.ABORTED
        delay = next(self._delays, None) if may_pass and self._left > 0 else None
        if delay is None:
            raise error
        self._left -= 1
        await self._sleep(delay)


class Attempts:
    """Attempts at a write: `async for _ in attempts`, with `failed` for each error of a Commit, and at the end
    `raise attempts.gave_up()`.

    `is_unknown` is whether an earlier attempt was not answered. What is read then may show that it was made. Where it
    does not, only `settle` tells whether it may be made again: others may have removed what it had written.
    """

    def __init__(self, pauses: AsyncIterator[int], most_unanswered: int) -> None:
        self.is_unknown = False
        self.last: grpc.RpcError | None = None
        self._pauses = pauses
        self._unanswered = 0
        self._most_unanswered = most_unanswered
        self._stamp: Any = None

    def __aiter__(self) -> AsyncIterator[int]:
        return self._pauses

    def failed(self, error: grpc.RpcError, stamp: Any = None) -> None:
        """Take note of an error. Raises it if the write is not to be tried again.

        `stamp` is the `updateTime` that the write was conditional on, None if on the absence of a document.
        """
        self.last = error
        if is_conflict(error):
            return
        if not (is_unanswered(error) or is_throttled(error)):
            raise error
        self._unanswered += 1
        if is_unanswered(error) and not was_not_sent(error) and not self.is_unknown:
            self.is_unknown, self._stamp = True, stamp
        if self._unanswered >= self._most_unanswered:
            raise error

    def settle(self, stamp: Any) -> None:
        """Raise UnavailableError unless an attempt that was not answered was certainly not made: its condition, an
        `updateTime`, would still be met."""
        if self.is_unknown and (self._stamp is None or stamp != self._stamp):
            raise self.unknown_outcome() from self.last

    @contextmanager
    def judging(self) -> Generator[None]:
        """A refusal is not an answer to a write whose first attempt may have been made: raise UnavailableError."""
        try:
            yield
        except StorageError:
            raise
        except SessionContinuityError:
            if self.is_unknown:
                raise self.unknown_outcome() from self.last
            raise

    def unknown_outcome(self) -> UnavailableError:
        """The error for a write that may have been made."""
        return UnavailableError(
            "the reply to a write was lost, and others have written meanwhile; its outcome is unknown: repeat the call "
            "with the same ids"
        )

    def gave_up(self) -> Exception:
        """The error for the end of the attempts."""
        if self.is_unknown:
            error: Exception = self.unknown_outcome()
        elif self.last is not None and not is_conflict(self.last):
            return self.last
        else:
            error = GaveUpError("other writers of this session were faster until the deadline; nothing was written")
        error.__cause__ = self.last
        return error


def _is_of_nobody(error: BaseException) -> bool:
    """Whether this is a CancelledError in a task that nobody cancelled: gRPC raises it for a channel that is closed."""
    task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
    return task is not None and not task.cancelling()


def _mask(fields: Sequence[str] | None) -> Any:
    return None if fields is None else wire.DocumentMask(field_paths=fields)


def _get(name: str, fields: Sequence[str] | None) -> Any:
    return wire.GetDocumentRequest(name=name, mask=_mask(fields))


def client_of(native: Any, options: FirestoreOptions) -> Connection:
    """The client on the channel of one of Google's clients, which stays open."""
    mode, database, open_channel, emulated = channel_of(native)
    return Connection(open_channel, mode, database, options, owned=False, emulated=emulated)
