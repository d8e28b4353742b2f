"""The options of a manager, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypedDict, TypeVar

from session_continuity.backends.registry import Registry, default_registry
from session_continuity.compression.planning import find_problem
from session_continuity.compression.strategies import CompressionStrategy, strategies_with
from session_continuity.compression.summarizer import Summarizer
from session_continuity.context.counting import CountingRule, MediaCosts, MessageCounter, TokenCounter
from session_continuity.context.estimate import estimate_tokens
from session_continuity.context.rules import ContextOptions, ContextRules
from session_continuity.errors import ConfigError
from session_continuity.json_problems import replace_invalid_text
from session_continuity.manager import arguments
from session_continuity.model_base import Model
from session_continuity.models import CompressionConfig, TokenBudget
from session_continuity.validation import validate

__all__ = ["Expiry", "ManagerOptions", "ManagerSettings", "resolve_options"]

Expiry = Literal["fixed", "sliding"]
OnInvalidText = Literal["refuse", "replace"]

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Model)


class ManagerOptions(TypedDict, total=False):
    """The keyword arguments of `open` and the constructors of both managers. All are optional.

    `AsyncSessionManager` describes them.
    """

    token_counter: TokenCounter | CountingRule | str | None
    token_budget: TokenBudget | Mapping[str, Any] | int | None
    compression: CompressionConfig | Mapping[str, Any] | str | None
    summarizer: Summarizer | str | None
    ttl: timedelta | float | None
    expiry: Expiry
    image_token_cost: int | None
    file_token_cost: int | None
    context: ContextRules | ContextOptions | None
    summarizer_timeout: timedelta | float
    summarizer_pause: timedelta | float
    on_invalid_text: OnInvalidText
    cleanup_interval: timedelta | float | None
    setup: bool
    registry: Registry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerSettings:
    """`ManagerOptions`, checked, with names replaced by what they name and times in seconds."""

    registry: Registry
    counter: MessageCounter
    budget: TokenBudget | None
    strategies: Mapping[str, CompressionStrategy]
    summarizer: Summarizer | None
    summarizer_timeout: float
    summarizer_pause: float
    rules: ContextRules
    compression: CompressionConfig | None
    ttl: float | None
    is_sliding: bool
    cleanup_interval: float | None
    sets_up: bool
    replaces_invalid_text: bool

    def accepted(self, value: Any) -> Any:
        """Messages or their fields as they are checked: with lone surrogates replaced, if the manager does so."""
        return replace_invalid_text(value) if self.replaces_invalid_text else value

    def compression_problem(self, config: CompressionConfig | None) -> str | None:
        """Why this manager cannot carry out a configuration, found when it is given; None if it can."""
        return None if config is None else find_problem(config, self.strategies, self.summarizer)


def resolve_options(
    *,
    token_counter: TokenCounter | CountingRule | str | None = None,
    token_budget: TokenBudget | Mapping[str, Any] | int | None = None,
    compression: CompressionConfig | Mapping[str, Any] | str | None = None,
    summarizer: Summarizer | str | None = None,
    ttl: timedelta | float | None = None,
    expiry: Expiry = "fixed",
    image_token_cost: int | None = None,
    file_token_cost: int | None = None,
    context: ContextRules | ContextOptions | None = None,
    summarizer_timeout: timedelta | float = 60.0,
    summarizer_pause: timedelta | float = 60.0,
    on_invalid_text: OnInvalidText = "refuse",
    cleanup_interval: timedelta | float | None = None,
    setup: bool = True,
    registry: Registry | None = None,
) -> ManagerSettings:
    """The settings of a manager with these options. Raises ConfigError and ValidationError for wrong ones, PluginError
    for an extension that cannot be loaded."""
    if expiry not in ("fixed", "sliding"):
        raise ConfigError("expiry must be 'fixed' or 'sliding'")
    if on_invalid_text not in ("refuse", "replace"):
        raise ConfigError("on_invalid_text must be 'refuse' or 'replace'")
    if not isinstance(setup, bool):
        raise ConfigError("setup must be True or False")
    if expiry == "sliding" and ttl is None:
        raise ConfigError("sliding expiry needs a ttl")
    registry = registry or default_registry()
    settings = ManagerSettings(
        registry=registry,
        counter=MessageCounter(
            _find_counting_rule(registry, token_counter),
            MediaCosts(
                image=_checked_token_cost(image_token_cost, "image_token_cost"),
                file=_checked_token_cost(file_token_cost, "file_token_cost"),
            ),
        ),
        budget=_model_from(TokenBudget, token_budget, "token_budget"),
        strategies=strategies_with(registry.strategies()),
        summarizer=_find_summarizer(registry, summarizer),
        summarizer_timeout=arguments.to_seconds(summarizer_timeout, "summarizer_timeout") or 0.0,
        summarizer_pause=arguments.to_seconds(summarizer_pause, "summarizer_pause") or 0.0,
        rules=validate(ContextRules, {} if context is None else context, at="context"),
        compression=_model_from(CompressionConfig, compression, "compression"),
        ttl=arguments.to_seconds(ttl, "ttl"),
        is_sliding=expiry == "sliding",
        cleanup_interval=arguments.to_seconds(cleanup_interval, "cleanup_interval"),
        sets_up=setup,
        replaces_invalid_text=on_invalid_text == "replace",
    )
    if problem := settings.compression_problem(settings.compression):
        raise ConfigError(f"compression: {problem}")
    return settings


def _model_from(model: type[M], value: M | Mapping[str, Any] | str | int | None, name: str) -> M | None:
    return None if value is None else validate(model, value, at=name)


def _find_counting_rule(registry: Registry, value: TokenCounter | CountingRule | str | None) -> CountingRule:
    """The rule of a model that an extension or core knows by name, or that of a function."""
    if isinstance(value, CountingRule):
        return value
    if value is None:
        return CountingRule(text=estimate_tokens)
    if not isinstance(value, str):
        return CountingRule(text=_function(value, "token_counter"))
    found: TokenCounter | CountingRule | None = registry.hooks.sc_token_counter(model=value)
    if found is None:
        found = _rule_by_name(value)
    return found if isinstance(found, CountingRule) else CountingRule(text=found)


def _rule_by_name(model: str) -> CountingRule:
    from session_continuity.context.tokenizers import rule_for  # most managers name no model

    if (rule := rule_for(model)) is None:
        raise ConfigError(
            "neither core nor an extension counts tokens for this model; install an extension, or pass a function"
        )
    return rule


def _find_summarizer(registry: Registry, value: Summarizer | str | None) -> Summarizer | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return _function(value, "summarizer")
    found: Summarizer | None = registry.hooks.sc_summarizer(name=value)
    if found is None:
        raise ConfigError("no extension offers a summarizer of this name; install one, or pass a function")
    return found


def _function(value: F, name: str) -> F:
    if not callable(value):
        raise ConfigError(f"{name} must be a function or a name, not {type(value).__name__}")
    return value


def _checked_token_cost(value: int | None, name: str) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ConfigError(f"{name} must be a whole number from 0 up")
    return value
