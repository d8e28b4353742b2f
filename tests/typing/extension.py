"""The code of an extension. The type checkers check this file; it never runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from session_continuity import (
    BackendURL,
    CompressionConfig,
    CompressionPlan,
    CompressionStrategy,
    Event,
    Message,
    Registry,
    StorageAdapter,
    Summarizer,
    TokenCounter,
    hookimpl,
)


def words(text: str) -> int:
    return len(text.split())


def halve(messages: Sequence[Message], tokens: Sequence[int], room: int, config: CompressionConfig) -> CompressionPlan:
    return CompressionPlan(count=len(messages) // 2 if sum(tokens) > room else 0, summarize=config["summary"])


def headline(messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
    return f"{previous} {prompt} {len(messages)}"


class Extension:
    @hookimpl
    def sc_configure_url(self, url: BackendURL) -> BackendURL | None:
        return replace(url, password="from a vault") if url.password is None else None

    @hookimpl
    def sc_wrap_adapter(self, adapter: StorageAdapter) -> StorageAdapter | None:
        return adapter

    @hookimpl
    def sc_token_counter(self, model: str) -> TokenCounter | None:
        return words if model == "words" else None

    @hookimpl
    def sc_compression_strategies(self) -> Mapping[str, CompressionStrategy]:
        return {"halve": halve}

    @hookimpl
    def sc_summarizer(self, name: str) -> Summarizer | None:
        return headline if name == "headline" else None

    @hookimpl
    def sc_on_event(self, event: Event) -> None:
        event.session_id.upper()


Registry().register_extension(Extension(), "mine")
