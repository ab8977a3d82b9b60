"""What a file says about its own history, beside what its pixels say; the two are never merged into one number."""
