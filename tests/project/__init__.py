"""Tests of the project itself: its layout, its ladder, its documents and its commands."""
