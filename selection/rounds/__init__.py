"""The rounds of SPSM: their settings, their commands (stages), and in which order (plan)."""
