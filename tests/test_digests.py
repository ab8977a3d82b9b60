from imgscan.digests import digest_of


def test_a_digest_is_that_of_the_facts() -> None:
    # printf '{"a": 1, "b": [2, 3]}' | sha256sum
    assert digest_of({"b": [2, 3], "a": 1}) == "fd28b17488e0d3ec39d085da9a7acf40e0a6e4f3bbc310f112a1e4c5490394fc"
    assert digest_of({"a": 1, "b": [3, 2]}) != digest_of({"a": 1, "b": [2, 3]})
