"""YAML as users write it: what the 1.2 core schema says a value is, and what is refused, with its line, at once."""

import os
import time
from itertools import pairwise

import pytest
import yaml

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
        ("010", 10),
        ("-007", -7),
        ("+12", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("0x_", "0x_"),
        ("0o8", "0o8"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("2001-99-99", "2001-99-99"),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T25:61:61Z", "2026-01-31T25:61:61Z"),
        ("on", "on"),
        ("No", "No"),
        ("FALSE", False),
        ("Null", None),
        ("~", None),
        ("", None),
        ("=", "="),
        ("0." + "0" * 5_000 + "1", 0.0),
        (str(10**18), 10**18),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
        (r'"\ud83d\ude00"', "\U0001f600"),  # as json.dumps writes it
        ("'a\n\n  b'", "a\nb"),
        ("&a [1, &a 2, *a]", [1, 2, 2]),
        ("{<<: {a: 1}}", {"<<": {"a": 1}}),
    ],
)
def test_values_are_those_of_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "a.yaml"
    path.write_text(f"x: {text}\n")
    found = yamlfile.load(path)["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", r"a\.yaml:3: key 'a' twice"),
        ("a: [1\n", r"a\.yaml:2: "),
        ("a: !!python/object/apply:os.system [ls]\n", r"a\.yaml:1: .*os.system. does not fit"),
        ("a: \x00\n", r"a\.yaml:1: text with the character U\+0000"),
        ("title: {{ name }}\n", r"a\.yaml:1: a key is a mapping; put text that begins with a bracket in quotes"),
        ("b: 1\n[a]: 1\n", r"a\.yaml:2: a key is a list"),
        ("? [a]\n: b\n", r"a\.yaml:1: a key is a list"),
        ("0.3: a\n", r"a\.yaml:1: key 0\.3 is no text; put it in quotes"),
        ("true: a\n", r"a\.yaml:1: key true is no text"),
        ("~: a\n", r"a\.yaml:1: key ~ is no text"),
        ('"a\\nb": 1\n', r"a\.yaml:1: key 'a\\nb' has a tab or the end of a line in it"),
        ("k" * 5_000 + ": 1\n", r"a\.yaml:1: "),
        ("? " + "k" * 5_000 + "\n: 1\n", r"a\.yaml:1: key 'k+…' has more than 200 characters"),
        ("a: !!int abc\n", r"a\.yaml:1: '!!int' does not fit what follows it"),
        ("a: !!bool maybe\n", r"a\.yaml:1: '!!bool' does not fit"),
        ("a: !!timestamp x\n", r"a\.yaml:1: '!!timestamp' does not fit"),
        ("a: !!binary YQ==\n", r"a\.yaml:1: '!!binary' does not fit"),
        ("a: !!set {a, b}\n", r"a\.yaml:1: '!!set' does not fit"),
        ("a: !own b\n", r"a\.yaml:1: '!own' does not fit"),
        ("a: " + "9" * 5_000, r"a\.yaml:1: the number 9+… is beyond 1e\+18"),
        ("a: 0x" + "f" * 5_000, r"a\.yaml:1: the number 0xf+… is beyond"),
        ("a: 1000000000000000001", r"a\.yaml:1: the number 1000000000000000001 is beyond"),
        ("a: .nan\n", r"a\.yaml:1: \.nan is no finite number"),
        ("a: [1, -.INF]\n", r"a\.yaml:1: -\.INF is no finite number"),
        ("a: 1e999\n", r"a\.yaml:1: 1e999 is no finite number"),
        ("b: 1\na: " + "[" * 3_000, r"a\.yaml:2: nested more than 50 levels deep"),
        ("a: " + "[" * 3_000 + "]" * 3_000, r"a\.yaml:1: nested more than 50"),
        ("- " * 3_000, r"a\.yaml:1: nested more than 50"),
        ("a: &x [*x]\n", r"a\.yaml:1: an alias stands for what it is a part of"),
        ("a: *b\n", r"a\.yaml:1: found undefined alias 'b'"),
        (r'a: "\0"', r"a\.yaml:1: text with the character U\+0000"),
        (r'a: "\ud800"', r"a\.yaml:1: text with the character U\+D800"),
        (r'a: "\ude00\ud83d"', r"a\.yaml:1: text with the character U\+DE00"),
        ('b: 1\na: "\\U00110000"', r"a\.yaml:2: not YAML"),
        (r'a: "\UFFFFFFFF"', r"a\.yaml:1: not YAML"),
        (r'a: "\e[31m"', r"a\.yaml:1: text with the character U\+001B"),
        ("b: 1\na: \x1b[31m", r"a\.yaml:2: text with the character U\+001B"),
        ("a: b\x85c: d", r"a\.yaml:1: text with the character U\+0085"),
        ("a: b\u2028c: d", r"a\.yaml:1: text with the character U\+2028"),
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
    (tmp_path / "bytes.yaml").write_bytes(b"b: 1\na: \xff\xfe")
    with pytest.raises(UserError, match=r"bytes\.yaml:2: cannot be read \(byte 0xff is no UTF-8"):
        yamlfile.load(tmp_path / "bytes.yaml")
    for name in ("a\0b.yaml", "\ud800.yaml"):
        with pytest.raises(UserError, match="no such file"):
            yamlfile.load(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read"):
        yamlfile.load(tmp_path / f"{'a' * 5_000}.yaml")
    assert not yamlfile.exists(tmp_path / ("a" * 5_000))


def test_a_pipe_or_a_folder_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")  # to open it would wait for a writer
    for path in (tmp_path / "pipe.yaml", tmp_path):
        with pytest.raises(UserError, match="is no file"):
            yamlfile.load(path)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_every_end_of_a_line_and_a_byte_order_mark(tmp_path, ends):
    path = tmp_path / "a.yaml"
    path.write_bytes(f"\ufeffa: 1{ends}b: |{ends}  x{ends}  y{ends}".encode())
    assert yamlfile.load(path) == {"a": 1, "b": "x\ny\n"}


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{inner}'] * 9)}]\n" for inner, name in pairwise("abcdefghijklmn")
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, r"a\.yaml:5: more than 10,000 values, with aliases written out"),
        ("[" + "a," * 31_000 + "]", r"a\.yaml:1: more than 10,000 values"),
        ("- a\n" * 15_900, r"a\.yaml:10000: more than 10,000 values"),
        ("".join(f"k{i}: {i}\n" for i in range(5_200)), r"a\.yaml:5000: more than 10,000 values"),
        ("[" * 63_000, "nested more than 50 levels"),
        ("{a: " * 15_000, "nested more than 50 levels"),
        ("? " * 30_000, "nested more than 50 levels"),
        ("a: 1\n" * 20_000, r"a\.yaml: larger than 64,000 bytes"),
    ],
    ids=lambda text: text[:8],
)
def test_a_bomb_is_refused_within_a_second(tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(UserError, match=words):
        yamlfile.load(path)
    assert time.process_time() - started < 1


def test_the_loaders_of_others_keep_their_types():
    assert yaml.safe_load("010") == 8, "our resolvers are our loader's alone"
