"""What is measured about SameLoop itself: every dial, planted mistakes, kills, speed."""
