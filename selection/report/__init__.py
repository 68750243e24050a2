"""A page that shows a selection: python -m selection.report."""
