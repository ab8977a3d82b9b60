"""Reports: the canonical JSON Lines (jsonl.py) and what is made from it (human.py)."""
