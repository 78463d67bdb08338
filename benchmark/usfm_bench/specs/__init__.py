"""What is asked for: frozen, validated, hashed."""
