"""GoodReads (UCSD Book Graph; Wan and McAuley, 2018): what it is. Its reader is ``goodreads_reader``."""

from dataclasses import dataclass, replace
from typing import Literal

from flipbench.data.dataset import Dataset
from flipbench.data.table import Field

FIELDS = (
    Field("user_id", "user id", "user"),
    Field("book_id", "book id", "item"),
    Field("title", "book title", "item"),
    Field("genres", "book genres", "item"),
    Field("average_rating", "average rating", "item"),
    Field("reviews", "number of book reviews", "item"),
    Field("author_id", "author id", "item"),
    Field("author_name", "author name", "item"),
    Field("pages", "number of pages", "item"),
    Field("ebook", "ebook flag", "item"),
    Field("format", "format", "item"),
    Field("publisher", "publisher", "item"),
    Field("year", "publication year", "item"),
    Field("work_id", "work id", "item"),
    Field("media_type", "media type", "item"),
)
"""The paper's fifteen fields, in the order of the released pretraining code."""

INTERACTIONS = "goodreads_interactions_dedup.json.gz"
BOOKS = "goodreads_books.json.gz"
AUTHORS = "goodreads_book_authors.json.gz"
GENRES = "goodreads_book_genres_initial.json.gz"
WORKS = "goodreads_book_works.json.gz"


@dataclass(frozen=True)
class Sampling:
    """Which of the rated interactions make the data set; the paper's rule is not known.

    Attributes:
        rows: how many; all where there are fewer.
        rule: ``newest``: the last by time. ``users``: all of some users, drawn by ``seed``, until there are enough.
        seed: of the draw.
    """

    rows: int
    rule: Literal["newest", "users"] = "newest"
    seed: int = 0


def variant(name: str, title: str, sampling: Sampling) -> Dataset:
    """GoodReads with another sample: register the result as a data set of its own."""
    return Dataset(
        name=name,
        title=title,
        citation="M. Wan and J. McAuley. Item Recommendation on Monotonic Behavior Chains. RecSys 2018.",
        licence="Academic use with citation; no redistribution, no commercial use (UCSD Book Graph).",
        fields=FIELDS,
        label="rating > 3 is positive, rating 1 to 3 is negative; interactions without a rating are dropped",
        reader="flipbench.data.goodreads_reader:read",
        options={"sampling": sampling},
        version=2,
        files=(INTERACTIONS, BOOKS, AUTHORS, GENRES, WORKS),
        base_url="https://mcauleylab.ucsd.edu/public_datasets/gdrive/goodreads/",
    )


GOODREADS = replace(
    variant("goodreads", "GoodReads", Sampling(20_122_040)),
    expected={"samples": 20_122_040, "fields": 15, "features": 4_565_429},
    reasons={
        "samples": "the paper does not say which interactions it takes",
        "features": "the paper does not say which interactions it takes, nor how it spells missing values",
    },
)
GOODREADS_4M = variant("goodreads-4m", "GoodReads, 4 million", Sampling(4_000_000, "users"))
"""A sample for smaller machines, of the size that ClickPrompt (arXiv 2310.09234) has beside the whole."""
