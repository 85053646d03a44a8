"""Watched folders: completeness check, claims, events."""
