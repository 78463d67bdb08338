"""Data sets: registry, readers, phantoms, groups, splits, loading."""
