"""MovieLens-1M (Harper and Konstan, 2015): what it is. The reader of its raw files is ``movielens_reader``."""

from flipbench.data.dataset import Archive, Dataset, RowDigest
from flipbench.data.table import Field

FIELDS = (
    Field("user_id", "user id", "user"),
    Field("gender", "gender", "user"),
    Field("age", "age", "user"),
    Field("occupation", "occupation", "user", verbalizer=(("other", "other or not specified"),)),  # the README's words
    Field("zipcode", "zipcode", "user"),
    Field("movie_id", "movie id", "item"),
    Field("title", "title", "item"),
    Field("genre", "genre", "item"),
)
"""The paper's eight fields, in the order of the released pretraining code."""

GENDERS = {"M": "male", "F": "female"}

AGES = {"1": "under 18", "18": "18-24", "25": "25-34", "35": "35-44", "45": "45-49", "50": "50-55", "56": "56+"}
"""Age brackets by code (the archive's README)."""

_OCCUPATIONS = """
    other, academic/educator, artist, clerical/admin, college/grad student, customer service, doctor/health care,
    executive/managerial, farmer, homemaker, K-12 student, lawyer, programmer, retired, sales/marketing, scientist,
    self-employed, technician/engineer, tradesman/craftsman, unemployed, writer
"""
OCCUPATIONS = {str(code): words.strip() for code, words in enumerate(_OCCUPATIONS.split(","))}
"""Occupations by code (the archive's README)."""

MOVIELENS_1M = Dataset(
    name="movielens-1m",
    title="MovieLens-1M",
    citation="F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015.",
    licence="Research use with citation; no redistribution, no commercial use without permission (GroupLens README).",
    fields=FIELDS,
    label="rating > 3 is positive, rating < 3 is negative, rating 3 is dropped",
    reader="flipbench.data.movielens_reader:read",
    files=("ratings.dat", "users.dat", "movies.dat"),
    archive=Archive(
        url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        md5="c4d9eecfca2ab87c1945afe126590906",
        folder="ml-1m",
    ),
    fingerprint="f064684cb2017aa2b9c00bc3373fa6587a4437ddd4234d87c2a19bcf6177fd3a",
    rows={
        "training": RowDigest(665_110, "7ddf855877f3a578", "83e9c80fbb142de3"),
        "validation known-users": RowDigest(74_900, "37064608427ab3ff", "d1400e9784026ecd"),
        "validation last-ninth": RowDigest(73_902, "cbc83aac9c9e9269", "33e116d51eb7ca06"),
        "test": RowDigest(73_902, "246a1b7653f997c3", "e37d0818972514f0"),
    },
    expected={"samples": 739_012, "fields": 8, "features": 16_849},
    reasons={
        "features": (
            "every value that occurs, with the first genre of each movie, makes 16,863; "
            "14 fewer can be had in several ways (only well-formed US zip codes, for one), none of them documented"
        )
    },
)
