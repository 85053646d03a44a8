"""One reader for each family of formats. Readers run in the confined child only, and fill a `Findings`."""
