"""Long checks with a command of their own, outside the test command."""
