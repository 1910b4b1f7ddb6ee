"""Small drivers in C, compiled by the tests into real images for the forge."""
