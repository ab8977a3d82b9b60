"""imgscan: a forensic batch scanner that finds tampered pictures and says where they were tampered with."""

__version__ = "0.1.0"
