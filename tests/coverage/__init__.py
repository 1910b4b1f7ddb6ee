"""How much of the parsers the C tests and the forge's dumps, whole and damaged, go through: python -m tests.coverage."""
