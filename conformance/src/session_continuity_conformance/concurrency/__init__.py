"""Concurrent work by tasks, threads, adapters and processes, and the checks of its history."""
