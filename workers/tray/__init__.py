"""Watched folders: claim, completeness, events."""
