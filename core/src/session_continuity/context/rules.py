"""The rules by which a context is made, beside the budget."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import Field

from session_continuity.model_base import Model
from session_continuity.values import Whole

__all__ = ["ContextOptions", "ContextRules"]

SystemRule = Literal["once", "all"]
MissingResultRule = Literal["fill", "drop"]
UnfinishedRule = Literal["mark", "drop"]


class ContextRules(Model):
    """How contexts are made.

    - `max_turns`: at most so many turns, the newest; None: as many as fit
    - `max_tool_result_tokens`: longer results of tools are cut in the view; None: only when the last turn would not fit
    - `system`: `once` shows equal system messages once, at the first one's place; `all` shows each
    - `missing_results`: `fill` shows a call without a result as interrupted; `drop` leaves the call out
    - `unfinished`: `mark` shows a streamed answer that was broken off with a note; `drop` leaves it out
    """

    max_turns: Whole | None = Field(default=None, gt=0)
    max_tool_result_tokens: Whole | None = Field(default=None, gt=0)
    system: SystemRule = "once"
    missing_results: MissingResultRule = "fill"
    unfinished: UnfinishedRule = "mark"


class ContextOptions(TypedDict, total=False):
    """`ContextRules` as keyword arguments of one call. Those that are not given are the manager's."""

    max_turns: int | None
    max_tool_result_tokens: int | None
    system: SystemRule
    missing_results: MissingResultRule
    unfinished: UnfinishedRule
