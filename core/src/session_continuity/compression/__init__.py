"""Compression of old messages into a summary. The only package that writes one."""
