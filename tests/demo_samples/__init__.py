"""Typesets the demo's sample documents from their texts. Needs the test dependencies."""
