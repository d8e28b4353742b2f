"""Whose a model is, by its name."""

from __future__ import annotations

__all__ = ["bare_name", "is_openai"]

_OPENAI = ("gpt-", "chatgpt-", "o1", "o3", "o4")


def bare_name(model: str) -> str:
    """The name in lower case, without that of a provider before it: `gpt-4o` for `openai/gpt-4o`."""
    return model.rpartition("/")[2].lower()


def is_openai(model: str) -> bool:
    """Whether the model is one of OpenAI's, also behind a provider's name as in `openai/gpt-4o`."""
    return bare_name(model).startswith(_OPENAI)
