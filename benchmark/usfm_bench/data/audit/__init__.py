"""What is wrong with a data set: verify, audit, near-duplicates; and export."""
