"""Cursors as a client may see them: the checker's own."""

from scripts.chaos.cursors import START, Cursor

__all__ = ["START", "Cursor"]
