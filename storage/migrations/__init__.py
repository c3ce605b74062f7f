"""Numbered SQL files, applied in order by storage.schema; a released file never changes."""
