"""How results are read from and written to people: tables, sheets, lines."""
