"""MovieLens' raw folder as its users have it elsewhere: one CSV, RecBole's atomic files, a reczoo folder."""

from pathlib import Path

import pandas as pd

from flipbench.data.movielens import AGES, GENDERS, MOVIELENS_1M, OCCUPATIONS

USER = ["user_id", "gender", "age", "occupation", "zipcode"]
MOVIE = ["movie_id", "title", "genre"]
RATING = ["user_id", "movie_id", "rating", "timestamp"]


def tables(raw: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Users and movies, their values in a prompt's words, and ratings, all as text."""
    users, movies, ratings = (
        pd.DataFrame([line.split("::") for line in (raw / file).read_text("latin-1").splitlines()], columns=columns)
        for file, columns in (("users.dat", USER), ("movies.dat", MOVIE), ("ratings.dat", RATING))
    )
    for column, words in (("gender", GENDERS), ("age", AGES), ("occupation", OCCUPATIONS)):
        users[column] = users[column].map(words)
    for field in MOVIELENS_1M.fields:
        if field.verbalizer:
            users[field.name] = users[field.name].replace(dict(field.verbalizer))
    return users, movies, ratings


def joined(raw: Path) -> pd.DataFrame:
    """One table, columns in the order of the built-in data set."""
    users, movies, ratings = tables(raw)
    whole = ratings.merge(users, on="user_id").merge(movies, on="movie_id")
    return whole[[*USER, *MOVIE, "rating", "timestamp"]]


def atomic(raw: Path, folder: Path) -> Path:
    """RecBole's atomic files; genres between blanks, and no column quoted."""
    users, movies, ratings = tables(raw)
    movies["genre"] = movies["genre"].str.replace("|", " ")
    folder.mkdir(parents=True, exist_ok=True)
    types = {"title": "token_seq", "genre": "token_seq", "rating": "float", "timestamp": "float"}
    for suffix, table in (("user", users), ("item", movies), ("inter", ratings)):
        header = "\t".join(f"{column}:{types.get(column, 'token')}" for column in table)
        lines = ("\t".join(row) for row in table.itertuples(index=False))
        (folder / f"ml-1m.{suffix}").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


def in_parts(raw: Path, folder: Path) -> Path:
    """A reczoo folder of the rows but those of 3, in the built-in order; valid is the last ninth before test."""
    whole = joined(raw)
    whole = whole[whole["rating"] != "3"]
    keys = ["timestamp", "user_id", "movie_id"]
    whole = whole.sort_values(keys, key=lambda column: column.astype(int))
    whole.insert(0, "label", (whole["rating"].astype(int) > 3).astype(float))
    whole["genre"] = whole["genre"].str.replace("|", "^")
    whole = whole.drop(columns=["rating", "timestamp"])
    training = len(whole) * 9 // 10
    fitted = training * 8 // 9
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in (("train", whole[:fitted]), ("valid", whole[fitted:training]), ("test", whole[training:])):
        rows.to_csv(folder / f"{part}.csv", index=False)
    (folder / "dataset_config.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


CONFIG = """\
ml_1m_x1:
    data_root: ../../../data/
    data_format: csv
    train_data: ../../../data/ml_1m_x1/train.csv
    valid_data: ../../../data/ml_1m_x1/valid.csv
    test_data: ../../../data/ml_1m_x1/test.csv
    min_categr_count: 1
    feature_cols:
        - {name: [user_id, gender, age, occupation, zipcode], active: True, dtype: str, type: categorical}
        - {name: [movie_id, title], active: True, dtype: str, type: categorical}
        - {name: genre, active: True, dtype: str, type: sequence, splitter: ^, max_len: 5}
    label_col: {name: label, dtype: float}
"""
