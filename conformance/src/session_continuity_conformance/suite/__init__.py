"""The examples: small programs for each clause, written against `StorageAdapter` alone.

Run them with `pytest --pyargs session_continuity_conformance.suite --sc-url=URL`.
"""
