"""A raw BookCrossing folder small enough to read, with the dump's faults in it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

USERS = (
    b'"User-ID";"Location";"Age"\r\n'
    b'"1";"nyc, new york, usa";NULL\r\n'
    b'"7";"porto, \\"n/a\\", portugal";"17"\r\n'
    b'"9";"cernusco s\n, milan, italy";"61"\r\n'
    b'"10";"k\xf6ln, nordrhein-westfalen, deutschland";"4"\r\n'
    b'"12";"lisbon, \\"n/a\\",";"101"\r\n'
)
BOOKS = (
    b'"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"\r\n'
    b'"0195153448";"Classical Mythology";"Mark P. O. Morford";"2002";"Oxford &amp; Co";"a";"b";"c"\r\n'
    b'"034542252";"\\"O\\" is for Outlaw";"Sue Grafton";"0";"N/A";"a";"b";"c"\r\n'
    b'"078946697X";"X-Men (Level 4: Proficient Readers)\\";Michael Teitelbaum";"2000";"DK";"a";"b";"c"\r\n'
    b'"0002005018";"Le Petit Prince";"Antoine de Saint-Exup\xc3\xa9ry";NULL;"\xc9ditions; Gallimard";"a";"b";"c"\r\n'
)
RATINGS = (
    b'"User-ID";"ISBN";"Book-Rating"\r\n'
    b'"10";"0195153448";"0"\r\n'
    b'"9";"034542252";"6"\r\n'
    b'"9";"078946697X";"5"\r\n'
    b'"1";"0002005018";"10"\r\n'
    b'"7";"0002005018";"7"\r\n'
    b'"12";"0195153448";"8"\r\n'
    b'"1";"0195153448.";"9"\r\n'
    b'"1";"0000000000";"9"\r\n'
    b'"3";"0195153448";"9"\r\n'
)
FILES = {"BX-Users.csv": USERS, "BX-Books.csv": BOOKS, "BX-Book-Ratings.csv": RATINGS}


def write_raw(folder: Path, changed: Mapping[str, bytes] = MappingProxyType({})) -> Path:
    """The raw folder, some files replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in FILES.items():
        (folder / file).write_bytes(changed.get(file, data))
    return folder
