"""A raw MovieLens folder small enough to read."""

from pathlib import Path

USERS = """\
1::F::1::10::48067
2::M::56::16::70072
10::M::25::15::01234
3::F::25::0::55117-1001
4::M::18::20::00000
"""
MOVIES = """\
1::Toy Story (1995)::Animation|Children's|Comedy
9::Star Wars: Episode IV (1977)::Sci-Fi|War
10::Misérables, Les (1995)::Drama|Musical
30::Never Rated (1990)::Horror
"""
RATINGS = """\
1::1::5::978300760
1::9::3::978300275
1::10::1::978300275
2::9::4::978300100
10::9::2::978300275
10::1::3::978300999
2::10::4::978300760
3::9::5::978300275
3::1::2::978300760
"""
MOVIELENS = {"users.dat": USERS, "movies.dat": MOVIES, "ratings.dat": RATINGS}


def write_raw(folder: Path, **changed: str) -> Path:
    """The raw folder; ``ratings=...`` replaces ratings.dat."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in MOVIELENS.items():
        (folder / file).write_bytes(changed.get(file.removesuffix(".dat"), text).encode("latin-1"))
    return folder
