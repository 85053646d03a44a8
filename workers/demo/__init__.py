"""The demonstration: sample documents of a fictional company, their generator, and what is expected of them."""
