"""From a user's folder to a registry entry."""
