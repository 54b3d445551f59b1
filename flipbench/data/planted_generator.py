"""The planted truth: users with tastes over topics, items whose titles name their topics.

    P(y = 1) = sigmoid(bias + b_user + q_item + taste_user . topics_item)

Titles are the only full account of an item's topics, and their first words explain most of its quality, so a model
that reads them can judge an item that no training row shows. All draws are integers of PCG64's raw stream, whose
values numpy guarantees, and sums run in a fixed order: the table is the same on every machine.
"""

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipbench.data.encode import Column, Prepared, encode
from flipbench.data.movielens import AGES, GENDERS, OCCUPATIONS
from flipbench.data.planted import Size

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

TOPICS: dict[str, str] = {
    "Sci-Fi": "Galaxy Robot Starship Android Orbit Planet Alien Laser Cyborg Comet Nebula Rocket",
    "Romance": "Love Kiss Wedding Heart Bride Valentine Darling Sweetheart Honeymoon Passion Lovers Romance",
    "War": "Battle Soldier Army Trench Battalion Regiment Siege Cannon Infantry Bomber Warship Sergeant",
    "Horror": "Ghost Haunted Vampire Zombie Nightmare Demon Coffin Werewolf Crypt Witch Monster Blood",
    "Comedy": "Clown Joke Goofy Prank Silly Laughing Buddies Nutty Wacky Banana Circus Fool",
    "Crime": "Detective Murder Heist Gangster Mafia Robbery Alibi Suspect Killer Thief Homicide Witness",
}
"""Topic words of the titles, by the topic's genre."""
NEUTRAL = "Last First Little Big Great Old New Lost Hidden Silent Golden Broken Long Secret Final Second Other Day"
YEARS = range(1950, 2001)

BIAS = 0.6
USER, QUALITY, TASTE = 0.7, 1.0, 1.4
"""Standard deviation of b_user and q_item, and the scale of tastes."""
SHARED = 0.5
"""Share of a taste's variance that gender, age and occupation explain."""
TITLE_QUALITY = 0.7
"""Share of the quality's variance that the title's first word explains."""
GENRE_KEPT = 0.75
"""Probability that an item's genre is its main topic's."""
COLD_SHARE = 0.25
"""Share of the last tenth's rows that show an item not seen before."""


class _Stream:
    """Draws for one purpose; other purposes' draws do not shift it."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._bits = np.random.PCG64([seed, zlib.crc32(purpose.encode())])

    def below(self, n: int, size: int) -> Indices:
        """Uniform integers below n (n far below 2^48, so that the remainder's bias is nil)."""
        return ((self._bits.random_raw(size) >> np.uint64(12)) % np.uint64(n)).astype(np.int64)

    def normal(self, size: int) -> Floats:
        """Near-normal, mean 0, variance 1: the centred sum of 12 uniforms, summed as integers."""
        total = self.below(2**20, 12 * size).reshape(12, size).sum(axis=0)
        return np.asarray((total - 6 * 2**20) / 2.0**20)

    def weighted(self, weights: Floats, size: int) -> Indices:
        """Indices with probability proportional to the weights."""
        bounds = np.cumsum(weights)
        points = self.below(2**40, size) / 2.0**40 * bounds[-1]
        return np.asarray(np.searchsorted(bounds, points, side="right"), np.int64)


def generate(raw: Path | None = None, allow_partial: bool = False, *, size: Size) -> Prepared:
    """Rows in order of time, with their true probabilities.

    ``meta`` has the AUC of the truth on the last tenth (``bayes_auc``: on the drawn labels;
    ``bayes_auc_expected``: over labels drawn anew), for all its rows and for those of cold items.
    """
    tastes, users = _users(size)
    topics, title_quality, items = _items(size)
    user, item = _rows(size)
    logit = BIAS + USER * _Stream(size.seed, "user bias").normal(size.users)[user]
    rest = _Stream(size.seed, "quality").normal(size.items)
    quality = TITLE_QUALITY**0.5 * title_quality + (1 - TITLE_QUALITY) ** 0.5 * rest
    logit += QUALITY * quality[item]
    for k in range(len(TOPICS)):  # term by term: a matrix product's order of sums differs between machines
        logit += TASTE * tastes[user, k] * topics[item, k]
    grains = np.rint(10_000 / (1 + np.exp(-logit))).astype(np.int64)  # P in 1e-4: no last digit that machines differ in
    labels = (_Stream(size.seed, "label").below(10_000, size.rows) < grains).astype(np.uint8)
    truth = (grains / 10_000).astype(np.float32)

    ids, values = encode([*(Column(user, *column) for column in users), *(Column(item, *column) for column in items)])
    test = slice(size.rows * 9 // 10, None)
    cold = item[test] >= size.items - size.cold
    meta = {"test_rows_of_cold_items": int(cold.sum())}
    auc = {}
    for suffix, rows in (("", np.ones_like(cold)), ("_cold", cold)):
        p, y = truth[test][rows].astype(float), labels[test][rows].astype(float)
        auc[f"bayes_auc{suffix}"] = round(weighted_auc(p, y), 4)
        auc[f"bayes_auc{suffix}_expected"] = round(weighted_auc(p, p), 4)
    return Prepared(ids, labels, values, meta | auc, truth)


def weighted_auc(score: Floats, positive: Floats) -> float:
    """AUC of a score [N] where row n is positive with probability ``positive[n]`` (0 or 1: plain AUC).

    The mean of "a positive row scores above a negative one" over all pairs of different rows, ties one half.
    """
    from sklearn.metrics import roc_auc_score

    weights = np.concatenate([positive, 1 - positive])  # each row once as a positive, once as a negative
    auc = roc_auc_score(np.repeat([1, 0], len(score)), np.tile(score, 2), sample_weight=weights)
    pairs, with_itself = float(positive.sum() * (1 - positive).sum()), float((positive * (1 - positive)).sum())
    return float(auc * pairs - with_itself / 2) / (pairs - with_itself)


_Values = tuple[list[str], bool]


def _users(size: Size) -> tuple[Floats, list[_Values]]:
    """Tastes [users, topics], and the five user columns."""
    groups = [list(GENDERS.values()), list(AGES.values()), list(OCCUPATIONS.values())]
    part = (SHARED / len(groups)) ** 0.5
    tastes = (1 - SHARED) ** 0.5 * _Stream(size.seed, "taste").normal(size.users * len(TOPICS)).reshape(size.users, -1)
    columns: list[_Values] = [([str(u) for u in range(1, size.users + 1)], True)]
    for words, purpose in zip(groups, ("gender", "age", "occupation"), strict=True):
        member = _Stream(size.seed, purpose).below(len(words), size.users)
        lean = _Stream(size.seed, f"{purpose} taste").normal(len(words) * len(TOPICS)).reshape(len(words), -1)
        tastes += part * lean[member]
        columns.append(([words[m] for m in member], False))
    zipcodes = _Stream(size.seed, "zip pool").below(100_000, size.users // 2)
    home = _Stream(size.seed, "zip").below(len(zipcodes), size.users)
    columns.append(([f"{zipcodes[h]:05d}" for h in home], False))
    return tastes, columns


def _items(size: Size) -> tuple[Floats, Floats, list[_Values]]:
    """Topics [items, topics] with rows of unit length, the quality in the title [items], and the three item columns."""
    words = [text.split() for text in TOPICS.values()]
    neutral, genres = NEUTRAL.split(), list(TOPICS)
    stream, last = _Stream(size.seed, "title"), len(words[0])
    topics, title_quality = np.zeros((size.items, len(TOPICS))), np.zeros(size.items)
    praise = _Stream(size.seed, "praise").normal(len(neutral))
    titles: dict[str, None] = {}
    hints = _Stream(size.seed, "genre").below(1000, 2 * size.items).reshape(2, -1)
    shown: list[str] = []
    while len(titles) < size.items:  # a title drawn twice is drawn again
        first, second, a, b, n, year = (
            int(stream.below(m, 1)[0]) for m in (len(words), len(words), last, last - 1, len(neutral), len(YEARS))
        )
        one, two = words[first][a], words[second][b + (b >= a and first == second)]
        title = f"{neutral[n]} {one} {two} ({YEARS[year]})"
        if title in titles:
            continue
        i = len(titles)
        titles[title] = None
        title_quality[i] = praise[n]
        topics[i, first] += 0.8
        topics[i, second] += 0.6 if second != first else 0.2
        keep = hints[0, i] < 1000 * GENRE_KEPT
        shown.append(genres[first if keep else int(hints[1, i]) % len(genres)])
    ids = [str(i) for i in range(1, size.items + 1)]
    return topics, title_quality, [(ids, True), (list(titles), False), (shown, False)]


def _rows(size: Size) -> tuple[Indices, Indices]:
    """User and item of each row in order of time, no pair twice; the last ``cold`` items only in the last tenth."""
    warm, train = size.items - size.cold, size.rows * 9 // 10
    stream = _Stream(size.seed, "rows")
    is_cold = np.zeros(size.rows, bool)
    is_cold[train:] = stream.below(1000, size.rows - train) < 1000 * COLD_SHARE
    user, item = np.empty(size.rows, np.int64), np.empty(size.rows, np.int64)
    for rows, first, count in ((~is_cold, 0, warm), (is_cold, warm, size.cold)):
        user[rows], item[rows] = _pairs(stream, size.users, count, int(rows.sum()))
        item[rows] += first
    return user, item


def _pairs(stream: _Stream, users: int, items: int, n: int) -> tuple[Indices, Indices]:
    """The first n different pairs of draws where few users and items are busy and many are not."""
    user = stream.weighted(1 / np.arange(10, users + 10), 4 * n)
    item = stream.weighted(1 / np.arange(20, items + 20), 4 * n)
    chosen = np.sort(np.unique(user * items + item, return_index=True)[1])[:n]
    if len(chosen) < n:
        raise ValueError(f"too few pairs of {users} users and {items} items for {n} rows")
    return user[chosen], item[chosen]
