"""The one place that states this distribution's version: the contract's major and minor, then the suite's own."""

__version__ = "1.0.0"
