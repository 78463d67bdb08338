"""USFM's pre-training: spatial-frequency dual masking, after Jiao et al. (2024), doi:10.1016/j.media.2024.103202."""
