"""The rounds of SPSM: their settings, their stages, and in which order they run (plan)."""
