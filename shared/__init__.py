"""What both loops must agree on: settings, data, model, seeds, the flight recorder and its record."""
