"""What a finished trial leaves on disk, and how it is found again. Never imports torch."""
