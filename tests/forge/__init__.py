"""The forge keeps its own promises."""
