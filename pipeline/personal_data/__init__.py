"""Personal data in texts: which kinds there are, where they stand, and how they are hidden."""
