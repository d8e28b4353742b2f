"""session-continuity as the store of agent frameworks. One module for each framework; import the one you use.

No framework is imported before its module is. The other modules are what the adapters share: `handles`, `keeping`,
`keys` and `settling`; what a framework's items are as messages, where `importers` need it without the framework; and
`importers`, which read what frameworks have stored themselves.
"""

from session_continuity_agents._version import __version__

__all__ = ["__version__"]
