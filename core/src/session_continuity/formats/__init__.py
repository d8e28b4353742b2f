"""Conversions between messages and the formats of providers. No provider's package is imported.

Each format is a module with `from_…`, which reads what a provider or a framework gives, and `to_…`, which writes a
context for it: `openai_chat`, `openai_responses`, `anthropic`, `bedrock_converse`, `gemini`, `ui_messages`. Reading and
writing in the same format loses nothing. `conversion.convert` writes in any format and lists what it cannot take.
"""
