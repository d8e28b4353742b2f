"""What is under test: something that opens adapters of one store."""

from __future__ import annotations

from importlib.metadata import version
from typing import Protocol
from urllib.parse import quote

from session_continuity import Mode, Probe, Registry, StorageAdapter, default_registry, parse_url
from session_continuity_conformance.clauses import Contract
from session_continuity_conformance.faults.endpoints import Endpoint, endpoint_of


class Target(Protocol):
    """A store under test. A harness may give its own; for a URL there is `UrlTarget`."""

    @property
    def name(self) -> str:
        """The store for people, without secrets; as a rule its URL."""
        ...

    @property
    def scheme(self) -> str:
        """A short word for test ids."""
        ...

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that brings the store."""
        ...

    @property
    def modes(self) -> frozenset[Mode]:
        """The modes in which adapters can be had."""
        ...

    @property
    def contract(self) -> Contract:
        """The contract that the store was written for."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not appear in what the store shows."""
        ...

    def remote(self) -> dict[str, str] | None:
        """How another process finds the store: `url`, or a `factory` (`module:name`, which makes a target) and its
        `argument`. None where it cannot."""
        ...

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        """A new adapter in one of `modes`, not yet set up. Two of the same namespace share their sessions, where the
        store is not one that lives and dies with its adapter."""
        ...

    def endpoint(self) -> Endpoint[Target] | None:
        """Where the store's server listens; None where a proxy cannot be put before it."""
        return None

    def probe(self) -> Probe | None:
        """What tells the costs of its calls; None where nothing does."""
        return None


def native_mode(target: Target, wanted: Mode) -> Mode:
    """The mode wanted, or the other one where the store has only that."""
    return wanted if wanted in target.modes else next(iter(target.modes))


class UrlTarget:
    """The store that a config string names."""

    def __init__(self, url: str, registry: Registry | None = None) -> None:
        self._url = url
        self._registry = registry or default_registry()
        self.name = self._registry.redacted(url)
        parsed = parse_url(url)
        self.scheme = parsed.scheme
        self.secrets = (parsed.password,) if parsed.password else ()
        plugin = self._registry.plugin(self.scheme)
        self.modes = plugin.modes
        self.contract = plugin.api_version
        self.distribution = _distribution(self._registry, self.scheme)

    def remote(self) -> dict[str, str] | None:
        return {"url": self._url}

    def endpoint(self) -> Endpoint[Target] | None:
        options = self._registry.plugin(self.scheme).options
        return endpoint_of(self._url, options, lambda url: UrlTarget(url, self._registry))

    def probe(self) -> Probe | None:
        return self._registry.probe(self.scheme)

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        return self._registry.create(in_namespace(self._url, namespace), mode)


def in_namespace(url: str, namespace: str) -> str:
    """The URL with another namespace; one that it has already becomes a prefix of it."""
    address, mark, query = url.partition("?")
    options = [option for option in query.split("&") if option] if mark else []
    kept = [option for option in options if not option.startswith("namespace=")]
    prefix = "".join(option.removeprefix("namespace=") for option in options if option not in kept)
    option = f"namespace={prefix}{quote(namespace, safe='')}"
    return f"{address}?{'&'.join([*kept, option])}"


def _distribution(registry: Registry, scheme: str) -> str:
    for plugin in registry.installed_backends():
        if plugin.name == scheme:
            return f"{plugin.distribution} {plugin.version}"
    return f"registered at run time, beside session-continuity {version('session-continuity')}"
