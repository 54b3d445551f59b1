"""BookCrossing (Ziegler et al., 2005): what it is. The reader of its raw files is ``bookcrossing_reader``."""

from itertools import pairwise

from flipbench.data.dataset import Archive, Dataset
from flipbench.data.table import Field

FIELDS = (
    Field("user_id", "user id", "user"),
    Field("location", "location", "user"),
    Field("age", "age", "user"),
    Field("isbn", "isbn", "item"),
    Field("title", "book title", "item"),
    Field("author", "author", "item"),
    Field("year", "publication year", "item"),
    Field("publisher", "publisher", "item"),
)
"""The paper's eight fields, in the order of the released pretraining code."""

RECORDS = {"BX-Users.csv": 278_858, "BX-Books.csv": 271_379, "BX-Book-Ratings.csv": 1_149_780}
"""Records of the public dump, as its page states them; a copy with fewer is partial."""

COUNTRIES = {
    "USA": "us, u.s., u.s, u.s>, u.s.a, u.s.a>, america, united state, united states, united states of america, "
    "united staes, united sates, u.s. of a, ysa, ee.uu, los estados unidos de norte america",
    "United Kingdom": "uk, u.k, england, scotland, wales, northern ireland, great britain, united kindgonm",
    "Germany": "deutschland, geermany, nrw",
    "Spain": "españa, espana, catalunya, catalonia, catalunya spain, euskal herria, basque country, galiza",
    "Italy": "italia, l`italia, lombardia, lazio",
    "France": "la france",
    "Netherlands": "the netherlands, nederland, nederlands, holland",
    "Switzerland": "la suisse, suisse, schweiz",
    "Belgium": "la belgique, belgique",
    "Austria": "österreich",
    "Brazil": "brasil",
    "China": "p.r.china, p.r. china, people`s republic of china, la chine éternelle!, la chine éternelle !",
    "United Arab Emirates": "u.a.e",
    "Canada": "cananda",
    "Australia": "autralia",
    "Philippines": "phillipines",
    "New Zealand": "nz",
    "Mexico": "méxico",
    "Uruguay": "urugua",
    "Panama": "republic of panama",
}
"""Countries by the other spellings that users gave, and by their regions."""

_FIRST_AGES = (18, 25, 30, 35, 40, 45, 50, 55, 60)
BRACKETS = {"under 18": 18} | {f"{a}-{b - 1}": b for a, b in pairwise(_FIRST_AGES)} | {"60+": 101}
"""Age brackets with the first age beyond each. An age below 5 or above 100 is unknown, the eleventh bracket."""


BOOKCROSSING = Dataset(
    name="bookcrossing",
    title="BookCrossing",
    citation="C.-N. Ziegler, S. M. McNee, J. A. Konstan and G. Lausen. Improving Recommendation Lists Through Topic "
    "Diversification. WWW 2005.",
    licence="Research use with citation (the dump's page).",
    fields=FIELDS,
    label="rating > 5 is positive, all others are negative, the implicit 0 among them",
    reader="flipbench.data.bookcrossing_reader:read",
    version=2,
    files=("BX-Book-Ratings.csv", "BX-Users.csv", "BX-Books.csv"),
    archive=Archive("http://www2.informatik.uni-freiburg.de/~cziegler/BX/BX-CSV-Dump.zip", md5=None, folder=""),
    orders=("file", "shuffled", "user"),  # the dump has no times
    expected={"samples": 1_031_171, "fields": 8, "features": 722_235},
    reasons={
        "samples": "the paper does not say which malformed lines of the dump it keeps",
        "features": "the paper does not say how it cleans locations, ages and years",
    },
)
