"""The frameworks that there is a module for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Framework:
    """A framework: the module of ours, its distribution, and the packages that are imported with it.

    `also` are packages of other frameworks that this one needs itself.
    """

    module: str
    distribution: str
    packages: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The version that is installed."""
        return version(self.distribution)

    @property
    def may_import(self) -> tuple[str, ...]:
        """The packages that may be imported with the module."""
        return (*self.packages, *self.also)


FRAMEWORKS = (
    Framework("openai_agents", "openai-agents", ("agents",)),
    Framework("google_adk", "google-adk", ("google.adk",)),
    Framework("langchain", "langchain", ("langchain", "langchain_core", "langgraph")),
    Framework("claude_agent_sdk", "claude-agent-sdk", ("claude_agent_sdk",)),
    Framework("pydantic_ai", "pydantic-ai-slim", ("pydantic_ai",)),
    Framework("strands_agents", "strands-agents", ("strands",)),
    Framework("agent_framework", "agent-framework-core", ("agent_framework",)),
    Framework("llama_index", "llama-index-core", ("llama_index",)),
    Framework("chatkit", "openai-chatkit", ("chatkit",), also=("agents",)),
)
