"""What a run of the benchmarks was asked to use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setup:
    """`url` is a running server, None to start one. `latency` is the delay of every reply in milliseconds. `peers` says
    whether openai-agents is compared too."""

    url: str | None = None
    latency: float = 0
    peers: bool = False
