"""`Model`, the base class of all data models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError as PydanticError

from session_continuity.input_errors import frozen_error, in_own_words, model_in
from session_continuity.values import Json, Text

__all__ = ["Model", "OpenModel", "copied"]


if TYPE_CHECKING:
    _Base = BaseModel
else:

    class _ModelType(type(BaseModel)):
        """Makes a constructor accept and refuse what `Model.model_validate` does, with the same words.

        An `__init__` of our own would do so too, but pydantic would call it for every model that it decodes.
        """

        def __call__(cls, *args, **fields):
            if len(args) == 1 and not fields:  # a short form, such as TokenBudget(4000)
                return cls.model_validate(args[0])
            try:
                return super().__call__(*args, **fields)
            except PydanticError:
                pass
            return cls.model_validate(fields)

    class _Base(BaseModel, metaclass=_ModelType):
        def __setattr__(self, name, value):
            raise frozen_error(type(self), name, value)


class Model(_Base):
    """The base of all models: frozen and strict, with errors in plain words that never show a value.

    `short_form` describes what `model_validate` accepts in place of fields, for error messages.
    """

    short_form: ClassVar[str] = ""
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        revalidate_instances="always",
    )

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The model of these fields, or of another instance. Raises pydantic's ValidationError."""
        try:
            return super().model_validate(obj, **options)
        except PydanticError as error:
            refused = error
        filled = _without_nones(cls, obj)
        if filled == obj:
            raise in_own_words(refused, obj, cls)
        return cls.model_validate(filled, **options)


def _without_nones(model: type[BaseModel], value: Any) -> Any:
    """The fields without each None that means a default."""
    if not isinstance(value, Mapping):
        return value
    filled: dict[str, Any] = {}
    for name, item in cast("Mapping[str, Any]", value).items():
        field = model.model_fields.get(name)
        if field is None or item is not None or field.is_required() or type(None) in get_args(field.annotation):
            filled[name] = item if field is None else _without_nones_inside(model_in(field.annotation), item)
    return filled


def _without_nones_inside(model: type[BaseModel] | None, value: Any) -> Any:
    if model is None:
        return value
    if isinstance(value, list):
        return [_without_nones(model, item) for item in cast("list[object]", value)]
    return _without_nones(model, value)


class OpenModel(Model):
    """A model with typed fields and any further keys of the caller's. `metadata["key"]` reads either."""

    model_config = ConfigDict(extra="allow")
    if TYPE_CHECKING:
        __pydantic_extra__: dict[Text, Json] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    else:  # a default value here would hide pydantic's own slot of this name
        __pydantic_extra__: dict[Text, Json]

    def __getitem__(self, key: str) -> Any:
        """The value of a field or of a further key. Raises KeyError."""
        if key in type(self).model_fields:
            return getattr(self, key)
        return (self.__pydantic_extra__ or {})[key]


AnyModel = TypeVar("AnyModel", bound=Model)
_set = object.__setattr__


def copied(model: AnyModel, /, **fields: Any) -> AnyModel:
    """A copy with other values of these fields, which are not validated: `model_copy` in a third of the time.

    What the fields hold, and further keys, are the same objects as in the model.
    """
    copy = object.__new__(type(model))
    _set(copy, "__dict__", {**model.__dict__, **fields})
    _set(copy, "__pydantic_fields_set__", model.__pydantic_fields_set__ | fields.keys())
    _set(copy, "__pydantic_extra__", model.__pydantic_extra__)
    _set(copy, "__pydantic_private__", None)
    return copy
