"""What both loops must agree on: dials, data, model, seeds, the flight recorder and its record."""
