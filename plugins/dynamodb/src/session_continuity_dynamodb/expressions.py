"""Expressions: conditions, updates and filters in DynamoDB's language, every name and value behind an alias.

An alias never clashes with a reserved word (`ttl`, `status`), and a text is never spliced into an expression.
"""

from __future__ import annotations

from typing import Any

from session_continuity_dynamodb.values import Item, Value


class Expression:
    """Collects the names and values of one request while its expressions are being written."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: Item = {}
        self._sets: list[str] = []
        self._adds: list[str] = []
        self._deletes: list[str] = []
        self._removes: list[str] = []

    def name(self, attribute: str) -> str:
        return self._names.setdefault(attribute, f"#{len(self._names)}")

    def value(self, value: Value) -> str:
        alias = f":{len(self._values)}"
        self._values[alias] = value
        return alias

    def exists(self, attribute: str) -> str:
        return f"attribute_exists({self.name(attribute)})"

    def absent(self, attribute: str) -> str:
        return f"attribute_not_exists({self.name(attribute)})"

    def compare(self, attribute: str, operator: str, value: Value) -> str:
        return f"{self.name(attribute)} {operator} {self.value(value)}"

    def same(self, attribute: str, value: Value | None) -> str:
        """The attribute has this value, or is absent when that is None."""
        return self.absent(attribute) if value is None else self.compare(attribute, "=", value)

    def any_of(self, attribute: str, values: list[Value]) -> str:
        return f"{self.name(attribute)} IN ({', '.join(map(self.value, values))})"

    def between(self, attribute: str, low: Value, high: Value) -> str:
        return f"{self.name(attribute)} BETWEEN {self.value(low)} AND {self.value(high)}"

    def at_most(self, attribute: str, count: int) -> str:
        """The attribute, a set, has so many members at most."""
        return f"({self.absent(attribute)} OR size({self.name(attribute)}) <= {self.value({'N': str(count)})})"

    def set(self, attribute: str, value: Value) -> None:
        self._sets.append(f"{self.name(attribute)} = {self.value(value)}")

    def set_once(self, attribute: str, value: Value) -> None:
        """Set the attribute where there is none."""
        name = self.name(attribute)
        self._sets.append(f"{name} = if_not_exists({name}, {self.value(value)})")

    def set_difference(self, attribute: str, minuend: Value, subtrahend: str) -> None:
        """Set the attribute to a value less another attribute."""
        self._sets.append(f"{self.name(attribute)} = {self.value(minuend)} - {self.name(subtrahend)}")

    def increment(self, attribute: str, by: Value, *, start: Value) -> None:
        """Add to a number; `start` stands in where there is none."""
        name = self.name(attribute)
        self._sets.append(f"{name} = if_not_exists({name}, {self.value(start)}) + {self.value(by)}")

    def add(self, attribute: str, value: Value) -> None:
        """Add to a number or to a set of texts; makes it where there is none."""
        self._adds.append(f"{self.name(attribute)} {self.value(value)}")

    def take_out(self, attribute: str, texts: Value) -> None:
        """Remove texts from a set."""
        self._deletes.append(f"{self.name(attribute)} {self.value(texts)}")

    def remove(self, attribute: str) -> None:
        self._removes.append(self.name(attribute))

    def put(self, attribute: str, value: Value | None) -> None:
        """Set the attribute, or remove it when the value is None."""
        if value is None:
            self.remove(attribute)
        else:
            self.set(attribute, value)

    def update(self) -> str:
        parts = (("SET", self._sets), ("ADD", self._adds), ("DELETE", self._deletes), ("REMOVE", self._removes))
        return " ".join(f"{word} {', '.join(clauses)}" for word, clauses in parts if clauses)

    def params(self) -> dict[str, Any]:
        """The aliases, as request parameters."""
        params: dict[str, Any] = {}
        if self._names:
            params["ExpressionAttributeNames"] = {alias: name for name, alias in self._names.items()}
        if self._values:
            params["ExpressionAttributeValues"] = self._values
        return params
