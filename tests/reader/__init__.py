"""Tests of the reader: what csrc and the binding say of memory and dumps."""
