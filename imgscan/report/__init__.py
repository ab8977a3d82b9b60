"""Reports: the canonical JSON Lines (jsonl.py, schema.py), reading them back (record.py, check.py), and the formats that are functions
of them (formats.py)."""
