"""The verdict: whether two runs are equal, what differs first, and what the evidence says about why."""
