"""Tables without what only aligns them."""

import re


def squeezed(text):
    """The text of tables with each row of blanks as one."""
    return re.sub(' +', ' ', text)
