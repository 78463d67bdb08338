"""Is a new run worse than a committed baseline? Without torch, and without pandas until bits are asked for."""
