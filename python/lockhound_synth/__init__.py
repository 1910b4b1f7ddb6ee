"""The dump forge: writes labelled synthetic Windows dumps; shares nothing with the reader."""
