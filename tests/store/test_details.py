"""What is kept of a call: comes back as it was, whatever its names and texts."""

from hypothesis import given
from hypothesis import strategies as st

from flowlib.store.details import pack_details, unpack_arguments, unpack_details

NAMES = st.text(max_size=8)


@given(
    shared=st.dictionaries(NAMES.filter(lambda name: not name.startswith("arg:")), st.text()),
    arguments=st.dictionaries(NAMES.map("arg:{}".format), st.text()),
    texts=st.dictionaries(NAMES.map("arg:{}".format), st.text()),
)
def test_details_come_back_as_they_were(
    shared: dict[str, str], arguments: dict[str, str], texts: dict[str, str]
) -> None:
    """Lone surrogates, empty names and empty texts among them; equal details are equal bytes."""
    packed = pack_details(shared | arguments, texts)

    assert unpack_details(packed) == (shared | arguments, texts)
    assert unpack_arguments(packed[1]) == arguments
    assert pack_details(*unpack_details(packed)) == packed


def test_lone_surrogates_survive() -> None:
    """Python allows them in names that `exec` makes, and in texts."""
    parts, texts = {"code": "c", "arg:\ud800": "\udfff"}, {"arg:\ud800": "'\ud801'"}

    assert unpack_details(pack_details(parts, texts)) == (parts, texts)
