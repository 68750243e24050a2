"""Selecting pixels and masks: a row of short steps, each reading one folder and writing the next.

tags -> classifier -> cams -> proxies -> (training, prediction) -> refine -> masks -> the next list.

The paper was never published and its selection code never released. Each step says what is known
of it and what is our reconstruction.
"""
