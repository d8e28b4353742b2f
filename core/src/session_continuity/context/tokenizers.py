"""How a model counts, by its name: `rule_for("gpt-4o")`.

OpenAI's tokenizers are public: with the extra `tiktoken` the texts of its models are counted exactly. Anthropic and
Google publish no tokenizer for use on the spot, so that Claude and Gemini are estimated, and the estimate leans high.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from session_continuity.blocks.model_names import bare_name, is_openai
from session_continuity.context.counting import CountingRule, TokenCounter
from session_continuity.context.estimate import estimate_tokens
from session_continuity.context.images import ImageFormula, claude_image, gemini_image, openai_patches, openai_tiles
from session_continuity.errors import ConfigError

__all__ = ["rule_for"]

_log = logging.getLogger("session_continuity")

_OPENAI_IMAGES: Mapping[str, ImageFormula] = {
    "gpt-4o-mini": openai_tiles(2833, 5667),
    "gpt-4.1-mini": openai_patches(1.62),
    "gpt-4.1-nano": openai_patches(2.46),
    "gpt-5-mini": openai_patches(1.62),
    "gpt-5-nano": openai_patches(2.46),
    "o4-mini": openai_patches(1.72),
    "gpt-5": openai_tiles(70, 140),
    "o1": openai_tiles(75, 150),
    "o3": openai_tiles(75, 150),
}
"""By the beginning of the model's name, the longest first. Other models have the tiles of GPT-4o."""

_GPT_4O_IMAGE = openai_tiles(85, 170)
_CLAUDE_FACTOR = 1.35
"""Claude's tokenizers make up to a third more tokens of a text than OpenAI's."""


def rule_for(model: str) -> CountingRule | None:
    """The rule of a model by its name, also behind a provider's name as in `openai/gpt-4o`; None for an unknown one.

    Raises ConfigError when it is one of OpenAI's and the extra `tiktoken` or its vocabulary is missing.
    """
    name = bare_name(model)
    if is_openai(model):
        return CountingRule(text=_tiktoken_counter(name), image=_openai_image(name))
    if "claude" in name:
        return _estimated(model, CountingRule(text=_claude_estimate, image=claude_image))
    if "gemini" in name:
        return _estimated(model, CountingRule(text=estimate_tokens, image=gemini_image))
    return None


def _openai_image(name: str) -> ImageFormula:
    found = [beginning for beginning in _OPENAI_IMAGES if name.startswith(beginning)]
    return _OPENAI_IMAGES[max(found, key=len)] if found else _GPT_4O_IMAGE


def _claude_estimate(text: str) -> int:
    return int(estimate_tokens(text) * _CLAUDE_FACTOR + 0.99)


def _estimated(model: str, rule: CountingRule) -> CountingRule:
    """The rule, after a note in the log that its counts are estimates: once for each model."""
    _note_estimate(model)
    return rule


@cache
def _note_estimate(model: str) -> None:
    _log.info("the tokenizer of %r is not public: its tokens are estimated, about a tenth too high", model)


@cache
def _tiktoken_counter(name: str) -> TokenCounter:
    try:
        import tiktoken  # a tokenizer's vocabulary takes long to load
    except ImportError as error:
        raise ConfigError(
            "tokens of OpenAI's models are counted with tiktoken; install session-continuity[tiktoken], or pass a "
            "function as token_counter"
        ) from error
    try:
        return _counter_of(_encoding(tiktoken, name))
    except OSError as error:
        raise ConfigError(
            "tiktoken could not fetch the model's vocabulary; let it once, or set TIKTOKEN_CACHE_DIR to a folder that "
            "has it"
        ) from error


def _encoding(tiktoken: Any, name: str) -> Any:
    """The encoding of the model; that of the newest models if its name is not known yet."""
    try:
        return tiktoken.encoding_for_model(name)
    except KeyError:
        return tiktoken.get_encoding("o200k_base")


def _counter_of(encoding: Any) -> TokenCounter:
    """Counts by an encoding. Names of special tokens count as the text that they are in a message."""
    encode: Callable[..., list[int]] = encoding.encode_ordinary

    def count(text: str, /) -> int:
        return len(encode(text))

    return count
