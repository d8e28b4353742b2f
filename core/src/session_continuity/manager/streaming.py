"""Answers that are stored while they arrive: `AsyncMessageStream` and `MessageStream`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from session_continuity.backends.storage import Storage
from session_continuity.context.unfinished import ANNOTATION, UNFINISHED
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.errors import SessionContinuityError
from session_continuity.events import ErrorOccurred
from session_continuity.ids import MessageIds
from session_continuity.manager.appender import Appender
from session_continuity.manager.editor import Editor
from session_continuity.manager.event_bus import EventBus
from session_continuity.manager.lifecycle import Lifecycle
from session_continuity.models import Message, MessageMetadata, NewMessage, Role
from session_continuity.validation import validate

__all__ = ["AsyncMessageStream", "MessageStream", "StreamParts"]


class StreamParts:
    """What a stream works with: the parts of its manager."""

    def __init__(
        self, lifecycle: Lifecycle, storage: StorageAdapter, appender: Appender, editor: Editor, events: EventBus
    ) -> None:
        self.lifecycle = lifecycle
        self.storage = storage
        self.appender = appender
        self.editor = editor
        self.events = events


class AsyncMessageStream:
    """An answer in the making, for `async with`. `write` adds text, and `finish` states what is known at the end.

    The message is stored with the first text, and again every `save_every` seconds. Until the `async with` has ended
    without an error, it is marked as unfinished: contexts show it with a note, or leave it out (`ContextRules`). An
    error, a cancellation or a client that went away is raised as it is, after what arrived was stored.
    """

    def __init__(
        self, parts: StreamParts, session_id: str, role: Role, message_id: str | None, save_every: float
    ) -> None:
        self._parts = parts
        self._session_id = session_id
        self._role: Role = role
        self._interval = timedelta(seconds=save_every)
        self._id = message_id or MessageIds(parts.storage.clock).mint()[0]
        self._texts: list[str] = []
        self._final: dict[str, Any] = {}
        self._saved_at: datetime | None = None
        self.message: Message | None = None
        """The message as it was stored last; None before the first text."""

    @property
    def text(self) -> str:
        """What has arrived."""
        return "".join(self._texts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self._save(is_finished=True)
        elif self._texts:
            await self._save_what_arrived()

    async def write(self, text: str) -> None:
        """Add some text. It is stored now, or within `save_every` seconds by a later call."""
        self._texts.append(text)
        now = self._parts.storage.clock()
        if self._saved_at is None or now - self._saved_at >= self._interval:
            self._saved_at = now
            await self._save(is_finished=False)

    def finish(
        self,
        *,
        metadata: MessageMetadata | Mapping[str, Any] | None = None,
        token_count: int | None = None,
        usage: Mapping[str, Any] | None = None,
    ) -> None:
        """State the answer's metadata and tokens, and the provider's `usage`, which is kept in the annotations.

        They are stored at the end of the `with`. Raises ValidationError for wrong ones.
        """
        stated = validate(MessageMetadata, {} if metadata is None else metadata, at="metadata")
        if usage is not None:
            annotations = {**stated.annotations, "usage": dict(usage)}
            stated = validate(MessageMetadata, {**stated.model_dump(), "annotations": annotations}, at="usage")
        self._final = {"metadata": stated, "token_count": token_count}
        validate(NewMessage, {"role": self._role, "content": "", **self._final})

    async def _save_what_arrived(self) -> None:
        """Store the text beside an error that is being raised, and never raise another one in its place."""
        try:
            await self._save(is_finished=False)
        except SessionContinuityError as problem:
            parts = self._parts
            await parts.events.emit(
                ErrorOccurred(
                    session_id=self._session_id, at=parts.storage.clock(), source="message stream", error=problem
                )
            )

    async def _save(self, *, is_finished: bool) -> None:
        await self._parts.lifecycle.ready()
        fields = self._fields(is_finished=is_finished)
        if self.message is None:
            new = validate(NewMessage, {"role": self._role, "id": self._id, **fields})
            [self.message] = (await self._parts.appender.append(self._session_id, [new], {})).messages
        else:
            self.message = await self._parts.editor.update(self._session_id, self.message.id, fields)

    def _fields(self, *, is_finished: bool) -> dict[str, Any]:
        content = self.text
        if is_finished:
            metadata = self._final.get("metadata", MessageMetadata())
        else:
            metadata = MessageMetadata(annotations={ANNOTATION: dict(UNFINISHED)})
        fields = {"content": content, "metadata": metadata}
        stated = self._final.get("token_count") if is_finished else None
        return fields if stated is None else {**fields, "token_count": stated}


class MessageStream:
    """`AsyncMessageStream` for blocking code, for `with`."""

    def __init__(self, stream: AsyncMessageStream, storage: Storage) -> None:
        self._stream = stream
        self._storage = storage

    @property
    def text(self) -> str:
        """What has arrived."""
        return self._stream.text

    @property
    def message(self) -> Message | None:
        """The message as it was stored last; None before the first text."""
        return self._stream.message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._storage.run(self._stream.__aexit__(kind, error, traceback))

    def write(self, text: str) -> None:
        """Add some text. It is stored now, or within `save_every` seconds by a later call."""
        self._storage.run(self._stream.write(text))

    def finish(
        self,
        *,
        metadata: MessageMetadata | Mapping[str, Any] | None = None,
        token_count: int | None = None,
        usage: Mapping[str, Any] | None = None,
    ) -> None:
        """State the answer's metadata and tokens, and the provider's `usage`, which is kept in the annotations.

        They are stored at the end of the `with`. Raises ValidationError for wrong ones.
        """
        self._stream.finish(metadata=metadata, token_count=token_count, usage=usage)
