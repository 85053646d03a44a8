"""One reader per family of formats. They run in the locked-in child only, and fill a `Findings`."""
