"""Reports: the canonical JSON Lines (jsonl.py, schema.py), reading them back (record.py, check.py), and the formats made from them
(formats.py)."""
