"""Amazon-Toys (Ni et al., 2019; He and McAuley, 2016): what it is. Its reader is ``amazon_toys_reader``.

ClickPrompt's fourth data set (arXiv 2310.09234); FLIP does not use it. Both public versions of the reviews are read,
2014 and 2018. Their mirrors move and publish no checksum, so there is nothing to fetch: the files are imported.
"""

from flipbench.data.dataset import Dataset
from flipbench.data.table import Field

FIELDS = (
    Field("user_id", "user id", "user"),
    Field("item_id", "item id", "item"),
    Field("category", "category", "item"),
    Field("title", "title", "item"),
    Field("brand", "brand", "item"),
)
"""ClickPrompt's five fields, in the order of its code."""

REVIEWS = ("Toys_and_Games_5.json.gz", "reviews_Toys_and_Games_5.json.gz")
"""The 5-core reviews of 2018 and of 2014; the first that is there is read."""
ITEMS = "meta_Toys_and_Games.json.gz"


AMAZON_TOYS = Dataset(
    name="amazon-toys",
    title="Amazon-Toys",
    citation="J. Ni, J. Li and J. McAuley. Justifying Recommendations using Distantly-Labeled Reviews. EMNLP 2019.",
    licence="Academic use with citation (UCSD Amazon review data); no licence is stated.",
    fields=FIELDS,
    label="rating > 3 is positive, all others are negative (a guess: ClickPrompt's code reads finished labels)",
    reader="flipbench.data.amazon_toys_reader:read",
    version=2,
    files=(REVIEWS[0], ITEMS),
)
