"""Expressions: conditions, updates and filters in DynamoDB's language.

Every name and value is behind an alias. So a name never clashes with a reserved word (`ttl`, `status`), and a value is
never spliced into the text of an expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from session_continuity_dynamodb.items.values import Item, Value

Operand = str | int | Value
"""A text, a whole number, or a value in DynamoDB's JSON."""


class Parameter(str):
    """A value that is not known yet: `Expression.params` takes it under this name. So one expression, built once,
    serves many requests."""

    __slots__ = ()


class Expression:
    """The conditions of one request, and the aliases that they share.

    The methods for conditions return text, and `where` makes a write conditional on it.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: Item = {}
        self._condition = ""

    def name(self, attribute: str) -> str:
        """The alias of an attribute."""
        return self._names.setdefault(attribute, f"#{len(self._names)}")

    def value(self, value: Operand | Parameter) -> str:
        """The alias of a value."""
        if isinstance(value, Parameter):
            return f":{value}"
        alias = f":{len(self._values)}"
        self._values[alias] = _typed(value)
        return alias

    def exists(self, attribute: str) -> str:
        """The item has the attribute."""
        return f"attribute_exists({self.name(attribute)})"

    def absent(self, attribute: str) -> str:
        """The item does not have the attribute."""
        return f"attribute_not_exists({self.name(attribute)})"

    def compare(self, attribute: str, operator: str, value: Operand) -> str:
        """The attribute is equal to the value, smaller, and so on."""
        return f"{self.name(attribute)} {operator} {self.value(value)}"

    def same(self, attribute: str, value: Value | None) -> str:
        """The attribute has this value, or is absent if that is None."""
        return self.absent(attribute) if value is None else self.compare(attribute, "=", value)

    def absent_or(self, attribute: str, operator: str, value: Operand) -> str:
        """The attribute is absent, or compares like this."""
        return f"({self.absent(attribute)} OR {self.compare(attribute, operator, value)})"

    def any_of(self, attribute: str, values: Iterable[str]) -> str:
        """The attribute is one of these texts, 100 at most."""
        return f"{self.name(attribute)} IN ({', '.join(map(self.value, values))})"

    def between(self, attribute: str, low: str, high: str) -> str:
        """The attribute is a text between these, both included."""
        return f"{self.name(attribute)} BETWEEN {self.value(low)} AND {self.value(high)}"

    def begins_with(self, attribute: str, start: str) -> str:
        """The attribute is a text that begins like this."""
        return f"begins_with({self.name(attribute)}, {self.value(start)})"

    def at_most(self, attribute: str, count: int) -> str:
        """The attribute is a set of at most so many members."""
        return f"({self.absent(attribute)} OR size({self.name(attribute)}) <= {self.value(count)})"

    def where(self, *conditions: str) -> None:
        """Make a write conditional on all of these."""
        self._condition = " AND ".join(filter(None, [self._condition, *conditions]))

    def params(self, values: Mapping[str, Operand] | None = None, **expressions: str) -> dict[str, Any]:
        """The parts of a request: the condition, these further expressions, and all aliases.

        `values` are those of the `Parameter`s.
        """
        params: dict[str, Any] = dict(expressions)
        if self._condition:
            params["ConditionExpression"] = self._condition
        if self._names:
            params["ExpressionAttributeNames"] = {alias: name for name, alias in self._names.items()}
        aliased = {f":{name}": _typed(value) for name, value in (values or {}).items()}
        if self._values or aliased:
            params["ExpressionAttributeValues"] = {**self._values, **aliased}
        return params


class Update(Expression):
    """The changes of one item, and their condition."""

    def __init__(self) -> None:
        super().__init__()
        self._changes: dict[str, list[str]] = {}

    def set(self, attribute: str, value: Operand | None) -> None:
        """Set the attribute, or remove it if the value is None."""
        if value is None:
            self.remove(attribute)
        else:
            self._change("SET", f"{self.name(attribute)} = {self.value(value)}")

    def set_once(self, attribute: str, value: Operand) -> None:
        """Set the attribute if it is absent."""
        name = self.name(attribute)
        self._change("SET", f"{name} = if_not_exists({name}, {self.value(value)})")

    def set_difference(self, attribute: str, minuend: int, subtrahend: str) -> None:
        """Set the attribute to a number less another attribute."""
        self._change("SET", f"{self.name(attribute)} = {self.value(minuend)} - {self.name(subtrahend)}")

    def increment(self, attribute: str, by: int, *, start: int) -> None:
        """Add to a number, which is `start` where it is absent."""
        name = self.name(attribute)
        self._change("SET", f"{name} = if_not_exists({name}, {self.value(start)}) + {self.value(by)}")

    def add(self, attribute: str, value: Operand) -> None:
        """Add to a number or to a set. An absent one counts as 0 or as empty."""
        self._change("ADD", f"{self.name(attribute)} {self.value(value)}")

    def take_out(self, attribute: str, members: Value) -> None:
        """Remove members from a set."""
        self._change("DELETE", f"{self.name(attribute)} {self.value(members)}")

    def remove(self, attribute: str) -> None:
        """Remove the attribute."""
        self._change("REMOVE", self.name(attribute))

    def _change(self, kind: str, change: str) -> None:
        self._changes.setdefault(kind, []).append(change)

    def params(self, values: Mapping[str, Operand] | None = None, **expressions: str) -> dict[str, Any]:
        changes = " ".join(f"{kind} {', '.join(all_)}" for kind, all_ in self._changes.items())
        return super().params(values, UpdateExpression=changes, **expressions)


def _typed(value: Operand) -> Value:
    if isinstance(value, str):
        return {"S": value}
    return {"N": str(value)} if isinstance(value, int) else value
