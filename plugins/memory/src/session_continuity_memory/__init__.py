"""session-continuity in memory: `memory://`, or `MemoryStorage()`.

The reference backend: what the contract says, in as few lines as possible. `memory://` opens a new store each time.
`memory://NAME` opens the store of that name in this process. Its data are gone when the last adapter of it is.
"""

from session_continuity_memory._version import __version__
from session_continuity_memory.adapter import MemoryStorage

__all__ = ["MemoryStorage", "__version__"]
