"""What is measured about SameLoop itself: every setting, planted mistakes, kills, speed."""
