"""Portable executables: assembled, written and loaded, for the drivers of the forge."""
