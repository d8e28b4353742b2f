"""Sessions and messages as documents, and back. Pure."""
