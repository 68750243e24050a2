"""What the steps share: their flags, the quality of a mask, tables of it."""
