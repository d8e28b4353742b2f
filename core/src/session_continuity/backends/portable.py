"""`PortableAdapter`, the layer between a backend's adapter and everything that uses it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, Unpack

from pydantic import ValidationError as PydanticError

from session_continuity.backends.capability_guard import CapabilityGuard
from session_continuity.backends.forwarding import ForwardingAdapter
from session_continuity.backends.observed import CallObserver, ObservedAdapter
from session_continuity.backends.versions import implemented_capabilities, newer_fields
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.growth import CONTRACT, Version
from session_continuity.contract.paging import Page
from session_continuity.contract.patch import Patch
from session_continuity.contract.queries import MessageQuery, SessionFilter, check_limit
from session_continuity.contract.repeats import check_batch
from session_continuity.contract.results import Appended, ConversationPage, Fork, HealthStatus, Replaced
from session_continuity.contract.search import SearchTerms
from session_continuity.contract.terms import AppendTerms, check_session_patch, check_terms
from session_continuity.errors import (
    NotSupportedError,
    SessionContinuityError,
    StorageClosedError,
    StorageError,
    UnavailableError,
    UnreadableError,
    ValidationError,
)
from session_continuity.models import ForkedFrom, Message, Session
from session_continuity.runtime.interrupts import interrupt_in, is_broken_off
from session_continuity.runtime.modes import lacks_event_loop

__all__ = ["PortableAdapter", "guarded", "portable"]

P = ParamSpec("P")
R = TypeVar("R")


def portable(
    adapter: StorageAdapter, observe: CallObserver | None = None, *, contract: Version | None = None, url: str = ""
) -> StorageAdapter:
    """The adapter inside a `PortableAdapter`, which `observe` observes.

    An adapter that has one already, also under other wrappers, is only `guarded` by it. `contract` is the version that
    the backend was written for; by default the one that the adapter states. `url` is the URL without secrets.
    """
    layer: StorageAdapter = adapter
    while isinstance(layer, ForwardingAdapter):
        if isinstance(layer, CapabilityGuard):
            return guarded(adapter, layer)
        layer = layer.inner
    portable_adapter = PortableAdapter(adapter, contract=contract)
    portable_adapter.url = url
    return portable_adapter if observe is None else ObservedAdapter(portable_adapter, observe)


def guarded(wrapper: StorageAdapter, inner: StorageAdapter) -> StorageAdapter:
    """The wrapper, inside a `CapabilityGuard` if it declares something else than `inner` or does not implement it.

    A wrapper that was written by hand for an older contract copies the capabilities of its inner adapter, also those of
    operations that it does not forward.
    """
    capabilities = implemented_capabilities(wrapper, CONTRACT)
    return wrapper if capabilities == inner.capabilities else CapabilityGuard(wrapper, capabilities)


class PortableAdapter(CapabilityGuard):
    """A backend's adapter with everything that is the same for every backend.

    After `close`, calls raise StorageClosedError. Errors of the backend's client become errors of this project, with
    the names of backend and operation. Limits and undeclared capabilities are refused before the backend is called.
    Queries that came after the version of the contract that the backend was written for are refused too.
    """

    def __init__(self, adapter: StorageAdapter, *, contract: Version | None = None) -> None:
        version = contract or adapter.contract
        super().__init__(adapter, implemented_capabilities(adapter, version))
        self.contract = version
        self._is_closed = False

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        operation = method.__name__
        if self._is_closed and operation != "close":
            raise StorageClosedError(backend=self.backend, operation=operation)
        if operation in self._undeclared:
            self._refuse(operation)
        try:
            return await method(*args, **kwargs)
        except StorageError as error:
            error.locate(self.backend, operation)
            raise
        except SessionContinuityError:
            raise
        except Exception as error:
            if (interrupt := interrupt_in(error)) is error:
                raise
            if interrupt is not None:
                raise interrupt from None
            if lacks_event_loop(error):  # `run_now` reports this one: async code was reached in blocking mode
                raise
            if not isinstance(error, PydanticError):
                raise self._translate(error, operation) from error
        # Outside of the handler, so that the error has no context: pydantic's quotes what is stored.
        unreadable = UnreadableError("what is stored")
        unreadable.locate(self.backend, operation)
        raise unreadable

    def _translate(self, error: Exception, operation: str) -> SessionContinuityError:
        translated = self.inner.translate(error, operation)
        if is_broken_off(error):
            translated = UnavailableError(
                "the call was interrupted while a value was written as JSON, most likely by a signal handler that "
                "raised; its outcome is unknown"
            )
        elif translated is None:
            kind = type(error).__name__
            translated = StorageError(
                f"unexpected {kind}: see the chained exception; with the right arguments this is a bug in the backend"
            )
        if isinstance(translated, StorageError):
            translated.locate(self.backend, operation)
        return translated

    def _check_query(self, query: SessionFilter | MessageQuery) -> None:
        if newer := newer_fields(query, self.contract):
            major, minor = self.contract
            raise NotSupportedError(
                ", ".join(newer), self.backend, f"it implements contract {major}.{minor}; upgrade its distribution"
            )

    async def close(self) -> None:
        self._is_closed = True
        await super().close()

    async def health(self) -> HealthStatus:
        try:
            return await super().health()
        except StorageClosedError:
            raise
        except SessionContinuityError as error:
            return HealthStatus(status="unhealthy", details={"error": error.code}, remedy=str(error))

    async def update_session(self, session_id: str, patch: Patch, *, expected_version: int | None = None) -> Session:
        check_session_patch(patch)
        return await super().update_session(session_id, patch, expected_version=expected_version)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        check_limit(limit)
        self._check_query(filter)
        return await super().list_sessions(filter, limit=limit, cursor=cursor)

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        check_batch(messages)
        check_terms(session_id, terms)
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)

    async def get_messages(self, session_id: str, query: MessageQuery, *, cursor: str | None = None) -> Page[Message]:
        self._check_query(query)
        return await super().get_messages(session_id, query, cursor=cursor)

    async def get_conversation(self, session_id: str, query: MessageQuery) -> ConversationPage:
        self._check_query(query)
        return await super().get_conversation(session_id, query)

    async def replace_tail(
        self,
        session_id: str,
        after_id: str | None,
        messages: Sequence[Message] = (),
        *,
        client_ids: Collection[str] = (),
        expected_last_id: str | None = None,
        return_removed: bool = False,
    ) -> Replaced:
        if messages:
            check_batch(messages)
        return await super().replace_tail(
            session_id,
            after_id,
            messages,
            client_ids=client_ids,
            expected_last_id=expected_last_id,
            return_removed=return_removed,
        )

    async def fork_session(self, source_id: str, session: Session, *, through_id: str | None = None) -> Session:
        if session.forked_from != ForkedFrom(session_id=source_id, message_id=through_id):
            raise ValidationError("the fork's forked_from must name the source and through_id")
        return await super().fork_session(source_id, session, through_id=through_id)

    async def list_forks(self, source_id: str, *, limit: int, cursor: str | None = None) -> Page[Fork]:
        check_limit(limit)
        return await super().list_forks(source_id, limit=limit, cursor=cursor)

    async def search_messages(
        self,
        text: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Message]:
        check_limit(limit)
        SearchTerms.of(text)
        return await super().search_messages(text, user_id=user_id, session_id=session_id, limit=limit, cursor=cursor)

    async def get_expired_sessions(self, before: datetime, *, limit: int, cursor: str | None = None) -> Page[str]:
        check_limit(limit)
        return await super().get_expired_sessions(before, limit=limit, cursor=cursor)
