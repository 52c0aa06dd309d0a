"""Whether two runs are equal, and what differs first."""
