"""`CapabilityGuard`, which refuses what an adapter does not declare."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn, ParamSpec, TypeVar, Unpack

from session_continuity.backends.forwarding import ForwardingAdapter
from session_continuity.backends.versions import undeclared_operations
from session_continuity.contract.adapter import StorageAdapter
from session_continuity.contract.capabilities import Capabilities
from session_continuity.contract.paging import Page
from session_continuity.contract.queries import SessionFilter
from session_continuity.contract.results import Appended, Replaced
from session_continuity.contract.terms import AppendTerms, stated_terms
from session_continuity.errors import NotSupportedError
from session_continuity.models import Message, Session

__all__ = ["CapabilityGuard"]

_CAPABILITY_OF = {
    "patch": "atomic_turns",
    "expected_version": "atomic_turns",
    "expected_last_id": "atomic_turns",
    "existing": "overlapping_batches",
    "create": "overlapping_batches",
}
"""The capability that declares a term of an append."""

_CAPABILITY_OF_ORDER = {
    "oldest": "ascending_listing",
    "recent": "activity_listing",
    "idle": "activity_listing",
}
"""The capability that declares an order of a listing. Every store has the order `newest`."""

_ORDER_REMEDY = "list the newest first; a manager's recent_sessions reads a user's most recent ones from any store"

P = ParamSpec("P")
R = TypeVar("R")


class CapabilityGuard(ForwardingAdapter):
    """An adapter with these capabilities. Calls that need others raise NotSupportedError and do not reach `inner`."""

    def __init__(self, inner: StorageAdapter, capabilities: Capabilities) -> None:
        super().__init__(inner)
        self.capabilities = capabilities
        self._undeclared = undeclared_operations(capabilities)

    async def forward(self, method: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if method.__name__ in self._undeclared:
            self._refuse(method.__name__)
        return await super().forward(method, *args, **kwargs)

    async def list_sessions(self, filter: SessionFilter, *, limit: int, cursor: str | None = None) -> Page[Session]:
        if not self.capabilities.unscoped_listing and filter.user_id is None and filter.active_agent_id is None:
            raise NotSupportedError("listing every session", self.backend, "give a user_id or an active_agent_id")
        if (needed := _CAPABILITY_OF_ORDER.get(filter.order)) and not getattr(self.capabilities, needed):
            raise NotSupportedError(f"a listing in the order {filter.order}", self.backend, _ORDER_REMEDY)
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        is_current = self.capabilities.listing_totals or filter.is_by_activity
        return page if is_current else replace(page, stale_totals=True)

    async def delete_session(
        self, session_id: str, *, expired_before: datetime | None = None, expected_version: int | None = None
    ) -> bool:
        if expected_version is not None and not self.capabilities.conditional_delete:
            self._refuse("delete_session with expected_version")
        return await super().delete_session(
            session_id, expired_before=expired_before, expected_version=expected_version
        )

    async def append_messages(
        self,
        session_id: str,
        messages: Sequence[Message],
        *,
        client_ids: Collection[str] = (),
        **terms: Unpack[AppendTerms],
    ) -> Appended:
        self._check_size(messages)
        for term in stated_terms(terms):
            if not getattr(self.capabilities, _CAPABILITY_OF[term]):
                self._refuse(f"append_messages with {term}")
        return await super().append_messages(session_id, messages, client_ids=client_ids, **terms)

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
        self._check_size(messages)
        return await super().replace_tail(
            session_id,
            after_id,
            messages,
            client_ids=client_ids,
            expected_last_id=expected_last_id,
            return_removed=return_removed,
        )

    def _check_size(self, messages: Sequence[Message]) -> None:
        most = self.capabilities.max_batch
        if most is not None and len(messages) > most:
            raise NotSupportedError(
                f"a batch of {len(messages)} messages", self.backend, f"it takes {most} at once; split the batch"
            )

    def _refuse(self, operation: str) -> NoReturn:
        raise NotSupportedError(operation, self.backend, "its capabilities do not declare it")
