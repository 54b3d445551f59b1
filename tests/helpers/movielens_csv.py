"""MovieLens-1M as its users would have it: one plain CSV in words, and the YAML file that describes it."""

import csv
from pathlib import Path

from flipbench.data.movielens import MOVIELENS_1M
from flipbench.data.movielens_reader import _movies, _ratings, _users

DESCRIPTION = """\
dataset: {name}
files: {{interactions: {file}}}
label: {{column: rating, positive: "> 3", drop: [3]}}
user: user_id
item: movie_id
time: timestamp
ties: [user_id, movie_id]
clean: false
fields:
  - user_id
  - {{column: gender, side: user}}
  - {{column: age, side: user}}
  - {{column: occupation, side: user}}
  - {{column: zipcode, side: user}}
  - movie_id
  - {{column: title, side: item}}
  - {{column: genre, side: item, many: "|", take: first}}
"""


def write_csv(raw: Path, path: Path) -> None:
    """Every rating of a raw folder, in its order, with what is known of user and movie in a prompt's words."""
    users, movies = _users(raw / "users.dat"), _movies(raw / "movies.dat")
    ratings = _ratings(raw / "ratings.dat", users, movies)
    for field in MOVIELENS_1M.fields:
        if field.name in users:
            users[field.name] = users[field.name].replace(dict(field.verbalizer))
    rows = ratings.join(users, on="user").join(movies, on="movie")
    rows = rows.rename(columns={"user": "user_id", "movie": "movie_id"})
    order = [field.name for field in MOVIELENS_1M.fields]
    rows[[*order, "rating", "timestamp"]].to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)


def describe(path: Path, name: str = "my-movies", file: str = "movies.csv", **changes: str) -> Path:
    """The YAML file of the CSV that lies beside it; ``changes`` are other top-level lines, or none where empty."""
    text = DESCRIPTION.format(name=name, file=file)
    for key, line in changes.items():
        lines = [each for each in text.splitlines() if not each.startswith(f"{key}:")]
        text = "\n".join([*lines, f"{key}: {line}" if line else ""]) + "\n"
    path.write_text(text, encoding="utf-8")
    return path
