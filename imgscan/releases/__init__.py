"""Weights that others have released: what they look like (table.py), reading them without running code (read.py), fitting them
key by key (convert.py), and giving them a home with a card (install.py)."""
