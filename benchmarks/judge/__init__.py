"""What is wrong with a loop: the phases, ways of working, and causes."""
