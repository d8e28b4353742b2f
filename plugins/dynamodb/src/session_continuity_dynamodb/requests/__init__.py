"""Requests: clients, retries, batches, transactions, pages, expressions, errors. Does not know sessions."""
