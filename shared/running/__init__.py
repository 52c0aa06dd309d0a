"""How a run begins, resumes and ends."""
