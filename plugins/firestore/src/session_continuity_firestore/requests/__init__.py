"""Requests to one database, and what can go wrong with them."""
