"""Pictures of results. Never imports torch, and never touches pyplot's state."""
