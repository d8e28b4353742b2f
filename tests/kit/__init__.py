"""The test kit: clocks, builders, servers, proxies and waiting, shared by the tests and the benchmarks.

Nothing here is a test, and no module imports from a folder of tests. Modules that the benchmarks use do not import
pytest either, so that a benchmark runs where only the stores are installed.
"""
