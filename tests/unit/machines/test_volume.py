"""The volume of a seed, read back by another program."""

from __future__ import annotations

import io

import pycdlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machines.volume import BLOCK, volume

NAMES = st.from_regex(r"[a-z][a-z-]{0,15}", fullmatch=True)


def read_volume(whole: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the label and the files of a volume."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(whole))
    files = {}
    for child in iso.list_children(rr_path="/"):
        if child.is_file():
            name = child.rock_ridge.name().decode()
            iso.get_file_from_iso_fp(content := io.BytesIO(), rr_path=f"/{name}")
            files[name] = content.getvalue()
    label = iso.pvd.volume_identifier.decode().rstrip()
    iso.close()
    return label, files


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=5000), max_size=5))
def test_files_are_read_back_as_they_were(files: dict[str, bytes]) -> None:
    whole = volume("cidata", files)
    assert read_volume(whole) == ("cidata", files)
    assert len(whole) % BLOCK == 0
    assert volume("cidata", files) == whole


def test_readers_without_rock_ridge_find_the_names_in_capitals() -> None:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(volume("cidata", {"meta-data": b"x"})))
    assert iso.get_record(iso_path="/META-DATA.;1").get_data_length() == 1


def test_more_files_than_a_block_can_name_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        volume("cidata", {f"file-{'x' * number}": b"" for number in range(30)})
