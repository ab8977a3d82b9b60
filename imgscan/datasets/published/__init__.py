"""The published data sets, one file each: `INFO` says what is known of it, `entries(root)` reads its published layout."""
