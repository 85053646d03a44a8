"""How results are read from and printed for people: tables, CSV rows, lines."""
