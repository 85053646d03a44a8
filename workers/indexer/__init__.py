"""The one process that changes the index, and the builder of candidate indexes."""
