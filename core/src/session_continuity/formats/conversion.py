"""`convert` writes messages in any format and tells what the format cannot take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

from session_continuity.errors import ValidationError
from session_continuity.formats.writing import AnyMessage, Loss, LossReason, Report

__all__ = ["Conversion", "FormatName", "Loss", "LossReason", "convert"]

FormatName = Literal["openai_chat", "openai_responses", "anthropic", "bedrock_converse", "gemini", "ui_messages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Messages in a provider's format. `request` is what `to_…` of the format returns; `losses` are the parts that
    could not be taken over, in the order of the messages."""

    request: Any
    losses: list[Loss]


def convert(messages: Iterable[AnyMessage], to: FormatName, *, model: str | None = None) -> Conversion:
    """The messages in a format, with a list of what cannot go over: `convert(context, "anthropic", model=model)`.

    Messages may come from any format. `model` is the model that will read them. Raises ValidationError for a format
    that is not known.
    """
    if to not in get_args(FormatName):
        raise ValidationError(f"to: must be one of {', '.join(get_args(FormatName))}")
    report = Report()
    request = import_module(f"session_continuity.formats.{to}").write(messages, report, model)
    return Conversion(request=request, losses=report.losses)
