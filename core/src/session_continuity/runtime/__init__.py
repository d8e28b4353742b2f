"""Running coroutines in both modes, and everything that needs a clock, threads or an event loop.

No other package of core imports asyncio.
"""
