"""Selecting pixels and masks: a row of short steps, each reading one folder and writing the next.

make_tags -> train_classifier -> make_cams -> make_proxies -> (training, prediction) ->
refine_masks -> select_pixels and choose_candidates, if asked -> select_masks -> the next list.
show_selection and evaluate_masks look at what they made; step is what they share.

The paper was never published and its selection code never released. Each step says what is known
of it and what is our reconstruction.
"""
