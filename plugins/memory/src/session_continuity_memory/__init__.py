"""session-continuity in memory: `memory://`, or `MemoryStorage()`.

The reference backend: what the contract says, in as few lines as it takes. `memory://` opens a store of its own each
time; `memory://NAME` shares one store of that name within the process. Its data end with the last adapter that has it
open.
"""

from session_continuity_memory._version import __version__
from session_continuity_memory.adapter import MemoryStorage

__all__ = ["MemoryStorage", "__version__"]
