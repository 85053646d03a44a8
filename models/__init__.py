"""WHAT has been learned: registry, recipes, cards, shipped weights."""
