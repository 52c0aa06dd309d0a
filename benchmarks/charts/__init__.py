"""Charts of one run or of many."""
