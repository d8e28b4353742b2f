"""The store under test.

The suite tests a store as applications see it: inside core's portable layer, which checks limits, refuses calls after
close and translates errors, the same way around every backend. `UrlTarget` opens stores through the registry, which
adds the layer. `PortableTarget` adds it to the adapters of a harness.

The suite's own reference and its mutants are not in the layer. They stand for a store and the layer together: so a
mutant can break what the layer guarantees, and every clause has a store that fails it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Protocol
from urllib.parse import quote

from session_continuity import CostMeter, Damager, Mode, Registry, StorageAdapter, default_registry, parse_url, portable
from session_continuity_conformance.clauses import Contract
from session_continuity_conformance.faults.endpoints import Endpoint, endpoint_of


class Target(Protocol):
    """A store under test. A harness may yield its own; `UrlTarget` is the one for a URL."""

    @property
    def name(self) -> str:
        """The name of the store in reports, without secrets: usually its URL."""
        ...

    @property
    def scheme(self) -> str:
        """A short word for test ids."""
        ...

    @property
    def distribution(self) -> str:
        """The name and version of the distribution with the store."""
        ...

    @property
    def modes(self) -> frozenset[Mode]:
        """The modes in which it opens adapters."""
        ...

    @property
    def contract(self) -> Contract:
        """The version of the contract that the store was written for."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that health and repr must not show."""
        ...

    def remote(self) -> dict[str, str] | None:
        """How another process opens the store; None where it cannot. Either `url`, or a `factory` (`module:name` of a
        function that returns a target) with its `argument`."""
        ...

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        """A new adapter in one of `modes`, not yet set up. Adapters of the same namespace share their sessions, unless
        each has a store to itself."""
        ...

    def full_namespace(self, namespace: str) -> str:
        """The namespace that an adapter has which `open` was asked for with this one."""
        return namespace

    def endpoint(self) -> Endpoint[Target] | None:
        """The address of the store's server; None where a proxy cannot be put in front of it."""
        return None

    def cost_meter(self) -> CostMeter | None:
        """The store's cost meter; None where it has none."""
        return None

    def damager(self) -> Damager | None:
        """The function that damages what the store has; None where there is none."""
        return None


def native_mode(target: Target, wanted: Mode) -> Mode:
    """The wanted mode; the other one where the store has only that."""
    return wanted if wanted in target.modes else next(iter(target.modes))


async def set_up(adapter: StorageAdapter) -> None:
    """Set an adapter up. It is closed if that fails, because nobody else will."""
    try:
        await adapter.setup()
    except BaseException:
        with suppress(Exception):
            await adapter.close()
        raise


class PortableTarget:
    """The target of a harness, with its adapters inside core's portable layer."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.name = target.name
        self.scheme = target.scheme
        self.distribution = target.distribution
        self.modes = target.modes
        self.contract = target.contract
        self.secrets = target.secrets

    def remote(self) -> dict[str, str] | None:
        return self._target.remote()

    def endpoint(self) -> Endpoint[Target] | None:
        endpoint = self._target.endpoint()
        if endpoint is None:
            return None

        def through(host: str, port: int) -> Target:
            return PortableTarget(endpoint.through(host, port))

        return replace(endpoint, through=through)

    def cost_meter(self) -> CostMeter | None:
        return self._target.cost_meter()

    def damager(self) -> Damager | None:
        return self._target.damager()

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        return portable(self._target.open(mode, namespace))

    def full_namespace(self, namespace: str) -> str:
        return self._target.full_namespace(namespace)


class UrlTarget:
    """The store at a URL."""

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

    def cost_meter(self) -> CostMeter | None:
        return self._registry.cost_meter(self.scheme)

    def damager(self) -> Damager | None:
        return self._registry.damager(self.scheme)

    def open(self, mode: Mode, namespace: str) -> StorageAdapter:
        return self._registry.create(in_namespace(self._url, namespace), mode)

    def full_namespace(self, namespace: str) -> str:
        return str(parse_url(in_namespace(self._url, namespace)).query["namespace"])


def in_namespace(url: str, namespace: str) -> str:
    """The URL with this namespace. A namespace that the URL has already becomes its prefix."""
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
