"""The face detector: its network, what it learns from, and how it is judged while it learns."""
