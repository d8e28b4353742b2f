"""Metrics of a store's calls by a hook, and a wrapper that changes one operation of a store."""

from collections import Counter, defaultdict

from session_continuity import (
    ForwardingAdapter,
    NotSupportedError,
    Registry,
    SessionManager,
    StorageAdapter,
    hookimpl,
)


class Metrics:
    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @hookimpl
    def sc_on_storage_call(self, backend: str, operation: str, seconds: float, outcome: str) -> None:
        self.calls[f"{backend} {operation} {outcome}"] += 1
        self.seconds[operation] += seconds


class NoDeletes(ForwardingAdapter):
    """Everything passes but deleting a session."""

    async def delete_session(self, *_: object, **__: object) -> bool:
        raise NotSupportedError("deleting a session", self.backend, "this application keeps its sessions")


class KeepSessions:
    @hookimpl
    def sc_wrap_adapter(self, adapter: StorageAdapter) -> StorageAdapter:
        return NoDeletes(adapter)


registry, metrics = Registry(), Metrics()
registry.register_extension(metrics, "metrics")
registry.register_extension(KeepSessions(), "keep-sessions")

with SessionManager.open("memory://", registry=registry) as manager:
    session = manager.create_session()
    manager.add_message(session.id, "user", "hello")
    try:
        manager.delete_session(session.id)
    except NotSupportedError as error:
        print("refused:", error)
for call, count in metrics.calls.items():
    print(count, call)
