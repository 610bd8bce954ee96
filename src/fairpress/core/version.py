"""The version of fairpress."""

__version__ = "0.1.0"
