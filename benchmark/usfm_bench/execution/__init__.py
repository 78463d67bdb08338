"""Where trials run: in this process, or in local worker processes with a GPU each."""
