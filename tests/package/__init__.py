"""Tests of the Python package, its binding and the command line."""
