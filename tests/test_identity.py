import pytest
from hypothesis import given
from hypothesis import strategies as st

from flipbench.identity import canonical, key_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(document, random):
    items = list(document.items())
    random.shuffle(items)
    assert key_of(dict(items)) == key_of(document)


def test_anagrams_have_different_keys():
    # Hashing a configuration's sorted characters, as a known benchmark did, makes these one.
    assert key_of({"hidden": [12, 3]}) != key_of({"hidden": [1, 23]})
    assert key_of({"dropout": 0.1, "depth": 20}) != key_of({"dropout": 0.2, "depth": 10})


def test_a_known_key_never_moves():
    document = {"b": [1, 2.5, "é"], "a": {"x": None, "y": True}, "rate": 1e-4}
    assert canonical(document) == '{"a":{"x":null,"y":true},"b":[1,2.5,"é"],"rate":0.0001}'
    assert key_of(document) == "3e57a58e67cb5377edc124d06dc25afaa87f4940bf69f927120f2c359c9674ea"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {"a": [float("-inf")]}, {1: "x"}])
def test_what_json_cannot_spell_is_refused(bad):
    with pytest.raises(ValueError, match=r"not text|not JSON compliant"):
        key_of(bad)
