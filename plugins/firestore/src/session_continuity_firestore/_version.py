"""The one place that states this distribution's version."""

__version__ = "0.1.0"
