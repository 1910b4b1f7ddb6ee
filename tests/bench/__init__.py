"""Benchmarks: times as multiples of a plain sum over the same bytes in the same run. They print, and judge nothing."""
