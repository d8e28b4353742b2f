"""The registry, with distributions that are really installed for one test: which backend a scheme gets, and what is
said when it gets none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from session_continuity import (
    CONTRACT,
    BackendOptions,
    BackendURL,
    Capabilities,
    ConfigError,
    Mode,
    PluginError,
    Registry,
    SessionManager,
    StorageAdapter,
    default_registry,
    hookimpl,
)
from session_continuity.backends.registry import InstalledPlugin
from session_continuity_memory import MemoryStorage

if TYPE_CHECKING:
    from .conftest import Install, RunPython

PLUGIN = """
    from session_continuity import CONTRACT, BackendOptions, Capabilities

    class Options(BackendOptions):
        size: int = 1

    class Plugin:
        scheme = "{scheme}"
        api_version = {version}
        modes = frozenset({{"blocking"}})
        options = Options

        def capabilities(self, options):
            return Capabilities()

        def create(self, options, mode):
            {create}

    plugin = Plugin()
"""
WORKS = 'from session_continuity_memory import MemoryStorage; return MemoryStorage(mode=mode, namespace="made")'


def some_probe(adapter: StorageAdapter) -> None:
    """What a cost meter may look like to an import."""


def test_the_cost_meter_of_a_plugin_is_imported_on_request() -> None:
    registry = Registry()
    probed, bare, lost = RuntimePlugin("probed"), RuntimePlugin("bare"), RuntimePlugin("lost")
    probed.cost_meter = f"{__name__}:some_probe"  # type: ignore[attr-defined]
    lost.cost_meter = "session_continuity_absent:cost_meter"  # type: ignore[attr-defined]
    for plugin in (probed, bare, lost):
        registry.register_backend(plugin)
    assert registry.cost_meter("probed") is some_probe
    assert registry.cost_meter("bare") is None
    with pytest.raises(
        PluginError, match=r"cost meter of lost:// \(session_continuity_absent:cost_meter\) cannot be imported"
    ):
        registry.cost_meter("lost")


def source(scheme: str = "jsonl", *, version: str = "CONTRACT", create: str = WORKS) -> str:
    return PLUGIN.format(scheme=scheme, version=version, create=create)


class RuntimePlugin:
    """A backend that a test registers by itself."""

    api_version: Any = CONTRACT
    modes: Any = frozenset[Mode]({"async", "blocking"})
    options = BackendOptions

    def __init__(self, scheme: str = "mine") -> None:
        self.scheme = scheme

    def capabilities(self, options: BackendOptions) -> Capabilities:
        del options
        return Capabilities()

    def create(self, options: BackendOptions, mode: Mode) -> StorageAdapter:
        return MemoryStorage(mode=mode, namespace=options.namespace)


def empty(environ: Mapping[str, str] | None = None) -> Registry:
    """A registry that sees nothing installed."""
    return Registry(entry_points=lambda _: [], environ=environ or {})


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(PluginError) as caught:
        call()
    return str(caught.value)


def test_an_installed_distribution_serves_its_scheme(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    adapter = Registry(environ={}).create("jsonl://?size=3", "blocking")
    assert (adapter.backend, adapter.mode) == ("memory", "blocking")


def test_the_url_may_come_from_the_environment(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    registry = Registry(environ={"SESSION_CONTINUITY_URL": "jsonl://?size=${SIZE}", "SIZE": "3"})
    assert registry.create(None, "blocking").mode == "blocking"
    assert registry.redacted(None) == "jsonl://?size=3"


def test_wrong_options_are_refused_before_anything_is_created(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    with pytest.raises(ConfigError, match=r"jsonl: unknown option sise; did you mean size\?"):
        Registry(environ={}).create("jsonl://?sise=3", "blocking")


def test_a_plugin_of_one_mode_is_asked_for_that_one(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    assert Registry(environ={}).create("jsonl://", "async").mode == "blocking"


def test_only_the_plugin_that_is_asked_for_is_imported(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    install("other-store", storage={"other": "other_plugin:plugin"}, modules={"other_plugin": "raise SystemExit"})
    registry = Registry(environ={})
    assert {"jsonl", "memory", "other"} <= {backend.name for backend in registry.installed_backends()}
    assert registry.plugin("jsonl").scheme == "jsonl"


def test_installed_backends_are_listed_by_scheme_with_their_distribution(install: Install) -> None:
    install("jsonl-store", version="2.5", storage={"jsonl": "jsonl_plugin:plugin"})
    assert InstalledPlugin("jsonl", "jsonl_plugin:plugin", "jsonl-store", "2.5") in Registry().installed_backends()
    names = [backend.name for backend in Registry().installed_backends()]
    assert names == sorted(names)


def test_an_unknown_scheme_is_refused_with_those_installed(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"})
    said = refusal(lambda: Registry().plugin("cassandra"))
    assert said.startswith("no backend for cassandra:// is installed; Installed: ")
    assert "jsonl://" in said
    assert "memory://" in said


def test_an_unknown_scheme_is_refused_with_the_nearest_installed(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"})
    assert "no backend for jsnl:// is installed; did you mean jsonl://? Installed: " in refusal(
        lambda: Registry().plugin("jsnl")
    )


def test_an_unknown_scheme_is_refused_when_nothing_is_installed() -> None:
    assert refusal(lambda: empty().plugin("x")) == (
        "no backend for x:// is installed; Installed: none. "
        "To write a backend, start with: session-continuity new-backend NAME"
    )


@pytest.mark.parametrize(
    ("scheme", "extra"),
    [("memory", "memory"), ("sqlite", "sqlite"), ("dynamodb", "dynamodb"), ("redis", "redis"), ("rediss", "redis"),
     ("redis+cluster", "redis"), ("redis+sentinel", "redis"), ("unix", "redis"),
     ("firestore", "firestore")],
)  # fmt: skip
def test_a_known_backend_that_is_missing_is_named_with_its_pip_command(scheme: str, extra: str) -> None:
    assert refusal(lambda: empty().plugin(scheme)) == (
        f"no backend for {scheme}:// is installed; pip install 'session-continuity[{extra}]'"
    )


def test_a_misspelt_backend_that_is_missing_is_named_with_its_pip_command() -> None:
    assert "did you mean dynamodb:// (pip install 'session-continuity[dynamodb]')?" in refusal(
        lambda: empty().plugin("dynamdb")
    )


def test_a_very_long_scheme_is_not_repeated() -> None:
    assert refusal(lambda: empty().plugin("x" * 33)).startswith("no backend for this scheme is installed")


def test_two_distributions_that_claim_one_scheme_are_both_named(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    install("jsonl-rival", version="3.0", storage={"jsonl": "rival_plugin:plugin"}, modules={"rival_plugin": source()})
    said = refusal(lambda: Registry().plugin("jsonl"))
    assert said.startswith("scheme jsonl:// is claimed by ")
    assert "jsonl-store 1.0" in said
    assert "jsonl-rival 3.0" in said
    assert said.endswith("; uninstall all but one of them")
    assert [backend.name for backend in Registry().installed_backends()].count("jsonl") == 2


def test_a_distribution_that_is_on_the_path_twice_is_not_a_conflict(install: Install) -> None:
    folder = install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    (folder / "jsonl_store-1.0.dist-info").rename(folder / "JSONL.Store-1.0.dist-info")
    install("jsonl-store", version="1.1", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source()})
    assert Registry().plugin("jsonl").scheme == "jsonl"


@pytest.mark.parametrize(
    ("version", "cure"),
    [
        ((CONTRACT[0] + 1, 0), "install versions of the two that agree"),
        ((CONTRACT[0] - 1, 9), "install versions of the two that agree"),
        ((CONTRACT[0], CONTRACT[1] + 1), "upgrade session-continuity"),
    ],
)
def test_a_backend_for_another_contract_is_refused(install: Install, version: tuple[int, int], cure: str) -> None:
    install(
        "jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source(version=str(version))}
    )
    assert refusal(lambda: Registry().plugin("jsonl")) == (
        f"jsonl-store 1.0 (jsonl_plugin:plugin) implements contract {version[0]}.{version[1]}, "
        f"this core implements {CONTRACT[0]}.{CONTRACT[1]}; {cure}"
    )


@pytest.mark.parametrize("version", ["None", "1", "'1.0'", "(1,)", "(1, 0, 0)", "('1', '0')"])
def test_a_backend_without_a_contract_version_is_refused(install: Install, version: str) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source(version=version)})
    assert "does not state the contract version that it implements, like (1, 0)" in refusal(
        lambda: Registry().plugin("jsonl")
    )


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import a_missing_module", "ModuleNotFoundError: No module named 'a_missing_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        ("plug = 1", "AttributeError: module 'jsonl_plugin' has no attribute 'plugin'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_the_reason(install: Install, module: str, reason: str) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": module})
    with pytest.raises(PluginError) as caught:
        Registry().plugin("jsonl")
    said = str(caught.value)
    assert said.startswith(
        f"the backend for jsonl:// from jsonl-store 1.0 (jsonl_plugin:plugin) cannot be imported: {reason}"
    )
    assert said.endswith("; reinstall or upgrade that distribution")
    assert type(caught.value.__cause__).__name__ == reason.partition(":")[0]


def test_a_plugin_whose_import_failed_may_be_fixed_without_a_new_process(install: Install) -> None:
    folder = install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": "1 / 0"})
    registry = Registry()
    refusal(lambda: registry.plugin("jsonl"))
    (folder / "jsonl_plugin.py").unlink()
    install("jsonl-modules", modules={"jsonl_plugin": source()})
    assert registry.plugin("jsonl").scheme == "jsonl"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("plugin = 1", "it lacks scheme, api_version, modes, options, capabilities, create"),
        (source() + "\n    del Plugin.create", "it lacks create"),
        (source() + "\n    plugin = Plugin", "it is a class, not an object of it"),
    ],
)
def test_an_object_that_is_not_a_backend_is_refused(install: Install, module: str, reason: str) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": module})
    assert refusal(lambda: Registry().plugin("jsonl")) == (
        f"jsonl-store 1.0 (jsonl_plugin:plugin) is not a backend: {reason}; see session_continuity.BackendPlugin"
    )


def test_a_backend_of_another_scheme_than_its_entry_point_is_refused(install: Install) -> None:
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": source("csv")})
    assert "says that its scheme is 'csv'; the scheme must be the name of its entry point" in refusal(
        lambda: Registry().plugin("jsonl")
    )


def test_a_driver_that_is_missing_at_creation_is_named(install: Install) -> None:
    install(
        "jsonl-store",
        storage={"jsonl": "jsonl_plugin:plugin"},
        modules={"jsonl_plugin": source(create="import a_driver")},
    )
    with pytest.raises(PluginError) as caught:
        Registry(environ={}).create("jsonl://", "blocking")
    assert str(caught.value) == (
        "jsonl:// in blocking mode needs the module a_driver, which cannot be imported; "
        "install it, or the extra that brings it"
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_driver_of_a_known_backend_is_named_with_its_pip_command() -> None:
    class Redis(RuntimePlugin):
        def create(self, options: BackendOptions, mode: Mode) -> StorageAdapter:
            del options, mode
            raise ImportError("a broken build")

    registry = empty()
    registry.register_backend(Redis("redis"))
    assert refusal(lambda: registry.create("redis://", "async")) == (
        "redis:// in async mode needs a module, which cannot be imported; pip install 'session-continuity[redis]'"
    )


def test_an_error_that_a_plugin_raises_itself_passes_through() -> None:
    error = ConfigError("choose a table")

    class Refusing(RuntimePlugin):
        def create(self, options: BackendOptions, mode: Mode) -> StorageAdapter:
            del options, mode
            raise error

    registry = empty()
    registry.register_backend(Refusing())
    with pytest.raises(ConfigError) as caught:
        registry.create("mine://", "blocking")
    assert caught.value is error


def test_a_backend_registered_at_run_time_serves_its_scheme() -> None:
    registry = empty()
    registry.register_backend(RuntimePlugin())
    with SessionManager.open("mine://", registry=registry) as manager:
        session = manager.create_session(user_id="u")
        assert manager.get_session(session.id).user_id == "u"


def test_a_private_registry_shares_nothing_with_another() -> None:
    first, second = empty(), empty()
    first.register_backend(RuntimePlugin())
    assert "mine://" not in refusal(lambda: second.plugin("memory"))
    refusal(lambda: second.plugin("mine"))
    refusal(lambda: default_registry().plugin("mine"))


def test_a_scheme_is_registered_once() -> None:
    registry = empty()
    registry.register_backend(RuntimePlugin())
    assert refusal(lambda: registry.register_backend(RuntimePlugin())) == (
        "scheme mine:// is taken; choose another, or use a registry of your own"
    )


def test_an_installed_scheme_cannot_be_registered_over() -> None:
    assert "scheme memory:// is taken" in refusal(lambda: Registry().register_backend(RuntimePlugin("memory")))


@pytest.mark.parametrize("scheme", ["Mine", "1st", "a b", "", "mine://"])
def test_a_scheme_that_no_url_can_state_is_refused(scheme: str) -> None:
    assert "the scheme must be the name of its entry point, in lower case" in refusal(
        lambda: empty().register_backend(RuntimePlugin(scheme))
    )


@pytest.mark.parametrize("modes", [frozenset(), frozenset({"threads"}), frozenset({"async", "threads"})])
def test_a_backend_without_a_mode_is_refused(modes: frozenset[Any]) -> None:
    plugin = RuntimePlugin()
    plugin.modes = modes
    assert refusal(lambda: empty().register_backend(plugin)) == (
        "RuntimePlugin, registered at run time, has no valid modes; a backend serves 'async', 'blocking' or both"
    )


def test_an_object_that_is_not_a_backend_cannot_be_registered() -> None:
    nothing: Any = object()
    assert "object, registered at run time, is not a backend: it lacks scheme" in refusal(
        lambda: empty().register_backend(nothing)
    )


def test_a_backend_for_a_later_contract_cannot_be_registered() -> None:
    plugin = RuntimePlugin()
    plugin.api_version = (CONTRACT[0], CONTRACT[1] + 1)
    assert "upgrade session-continuity" in refusal(lambda: empty().register_backend(plugin))


def test_an_earlier_minor_of_the_contract_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_continuity.backends.installed.CONTRACT", (CONTRACT[0], CONTRACT[1] + 1))
    registry = empty()
    registry.register_backend(RuntimePlugin())
    assert registry.plugin("mine").scheme == "mine"


def test_many_threads_that_ask_at_once_get_the_same_plugin(install: Install) -> None:
    slow = "import time\ntime.sleep(0.05)\n" + "\n".join(line[4:] for line in source().splitlines())
    install("jsonl-store", storage={"jsonl": "jsonl_plugin:plugin"}, modules={"jsonl_plugin": slow})
    registry, found = Registry(environ={}), list[object]()
    threads = [
        threading.Thread(target=lambda: found.extend([registry.plugin("jsonl"), registry.hooks])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 16
    assert len(set(map(id, found))) == 2


def test_installed_distributions_are_searched_once() -> None:
    searches: list[str] = []

    def entry_points(group: str) -> list[Any]:
        searches.append(group)
        return []

    registry = Registry(entry_points=entry_points, environ={})
    registry.register_backend(RuntimePlugin())
    for _ in range(3):
        registry.create("mine://", "blocking")
    assert sorted(searches) == ["session_continuity.extensions", "session_continuity.storage"]


def test_a_backend_object_may_implement_hooks() -> None:
    class Hooked(RuntimePlugin):
        @hookimpl
        def sc_token_counter(self, model: str) -> Callable[[str], int] | None:
            return len if model == "letters" else None

    registry = empty()
    registry.register_backend(Hooked())
    registry.create("mine://", "blocking")
    registry.create("mine://", "async")
    assert registry.hooks.sc_token_counter(model="letters") is len


def test_a_url_of_a_missing_backend_is_not_shown() -> None:
    refusal(lambda: empty().redacted("mine://secret"))


def test_the_process_has_one_default_registry() -> None:
    assert default_registry() is default_registry()
    assert default_registry().redacted("memory://name") == "memory://name"


def test_an_entry_point_of_no_distribution_is_refused() -> None:
    from importlib.metadata import EntryPoint

    registry = Registry(entry_points=lambda group: [EntryPoint("x", "y:z", group)], environ={})
    assert refusal(registry.installed_backends) == "entry point x has no distribution"


def test_a_url_may_be_rewritten_by_an_extension_before_its_options_are_read() -> None:
    class Vault:
        @hookimpl
        def sc_configure_url(self, url: BackendURL) -> BackendURL | None:
            return BackendURL("mine", query={"namespace": "from the vault"}) if url.scheme == "vault" else None

    seen: list[str] = []

    class Recording(RuntimePlugin):
        def create(self, options: BackendOptions, mode: Mode) -> StorageAdapter:
            seen.append(options.namespace)
            return super().create(options, mode)

    registry = empty()
    registry.register_backend(Recording())
    registry.register_extension(Vault())
    registry.create("vault://", "blocking")
    registry.create("mine://?namespace=direct", "blocking")
    assert seen == ["from the vault", "direct"]


def test_opening_the_installed_memory_backend_works_in_a_fresh_process(run_python: RunPython) -> None:
    done = run_python("""
        from session_continuity import SessionManager
        with SessionManager.open("memory://") as manager:
            print(manager.create_session(id="s").id)
    """)
    assert (done.stdout, done.stderr) == ("s\n", "")
