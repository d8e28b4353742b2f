"""Durable conversations for AI agents: one contract, any store, chosen by a URL.

`__init__.pyi` lists the public names. Each is imported when it is first used, so `import session_continuity` loads
neither a driver nor a plugin.
"""

import lazy_loader  # pyright: ignore[reportMissingTypeStubs]

from session_continuity._version import __version__ as __version__

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore[reportUnknownVariableType]
__all__ = ["__version__", *_names]  # pyright: ignore[reportUnknownVariableType, reportUnsupportedDunderAll]
