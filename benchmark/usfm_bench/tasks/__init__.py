"""What networks are asked to do, and how it is judged."""
