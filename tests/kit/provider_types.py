"""Whether a request has the types that a provider's own package publishes, and no key that it does not know."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from .missing import skip_test

__all__ = ["check_types"]


def check_types(format: str, request: Any) -> None:
    """Raise ValueError if the request of a format, as `to_…` returns it, is not of the provider's types."""
    try:
        _CHECKS[format](request)
    except ImportError as error:
        skip_test(f"{error.name} is missing: pip install -c constraints.txt openai anthropic google-genai")


def _openai_chat(request: Any) -> None:
    from openai.types.chat import ChatCompletionMessageParam

    # Services that speak this format send reasoning beside the content and take it back. OpenAI's types do not have it.
    plain = [{key: value for key, value in message.items() if key != "reasoning_content"} for message in request]
    _strict(list[ChatCompletionMessageParam], plain)


def _openai_responses(request: Any) -> None:
    from openai.types.responses import ResponseInputItemParam

    _strict(list[ResponseInputItemParam], request["input"])


def _anthropic(request: Any) -> None:
    from anthropic.types import MessageParam, TextBlockParam

    _strict(list[MessageParam], request["messages"])
    _strict(str | list[TextBlockParam], request.get("system", ""))


def _gemini(request: Any) -> None:
    from google.genai.types import Content

    for content in request["contents"]:
        Content.model_validate_json(json.dumps(content))
    instruction = request.get("system_instruction", "")
    if isinstance(instruction, dict):
        Content.model_validate_json(json.dumps(instruction))


def _bedrock_converse(request: Any) -> None:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate({"modelId": "m", **request}, _converse_shape())
    if report.has_errors():
        raise ValueError(report.generate_report())


@cache
def _converse_shape() -> Any:
    import botocore.session

    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    return model.operation_model("Converse").input_shape


@cache
def _adapter(kind: str) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_KINDS[kind])


_KINDS: dict[str, Any] = {}


def _strict(kind: Any, value: Any) -> None:
    """Raise ValueError if the value is not of the type, or has a key that the type does not know."""
    _KINDS[str(kind)] = kind
    read = _consumed(_adapter(str(kind)).validate_python(value))
    if read != value:
        raise ValueError("keys that the provider does not know: " + "; ".join(_differences(value, read, "")))


def _consumed(value: Any) -> Any:
    """The value with every iterable read to its end: pydantic checks an Iterable only while it is read."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: _consumed(item) for key, item in value.items()}
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return value
    return [_consumed(item) for item in value]


def _differences(one: Any, other: Any, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [f"{path}.{key}" for key in one.keys() ^ other.keys()]
        return keys + [
            part for key in one.keys() & other for part in _differences(one[key], other[key], f"{path}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list):
        pairs = enumerate(zip(one, other, strict=False))
        return [part for place, pair in pairs for part in _differences(*pair, f"{path}[{place}]")]
    return [] if one == other else [path]


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "openai_chat": _openai_chat,
    "openai_responses": _openai_responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock_converse": _bedrock_converse,
}
