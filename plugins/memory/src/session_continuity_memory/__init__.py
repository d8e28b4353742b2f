"""session-continuity in memory: `memory://`, or `MemoryStorage()`.

The reference backend: what the contract says, in as few lines as it takes. Its data live as long as the process.
`memory://` opens a store of its own each time; `memory://NAME` shares one store of that name within the process.
"""

from session_continuity_memory._version import __version__
from session_continuity_memory.adapter import MemoryStorage

__all__ = ["MemoryStorage", "__version__"]
