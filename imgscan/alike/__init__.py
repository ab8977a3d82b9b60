"""Which pictures of a batch are one photograph: a fingerprint of each, those that are near, how two differ, and the groups."""
