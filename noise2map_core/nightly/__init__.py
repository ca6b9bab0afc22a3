"""Areas that are mapped again whenever there is new imagery."""
