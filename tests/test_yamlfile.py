import pytest

from flipbench import yamlfile
from flipbench.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("0.0001", 1e-4),
        ("12", 12),
        ("-3", -3),
        ("e5", "e5"),
        ("1e", "1e"),
        ("1.2.3", "1.2.3"),
        ("'1e-4'", "1e-4"),
        ("true", True),
    ],
)
def test_numbers_are_read_as_people_mean_them(tmp_path, text, value):
    path = tmp_path / "a.yaml"
    path.write_text(f"x: {text}\n")
    found = yamlfile.load(path)["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", r"a\.yaml:3: key 'a' twice"),
        ("a: [1\n", r"a\.yaml:2: "),
        ("a: !!python/object/apply:os.system [ls]\n", r"a\.yaml:1: could not determine a constructor"),
        ("a: \x00\n", "not YAML"),
    ],
)
def test_a_mistake_names_file_and_line(tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        yamlfile.load(path)


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        yamlfile.load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        yamlfile.load(tmp_path / "bytes.yaml")
