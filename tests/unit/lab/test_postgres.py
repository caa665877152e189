"""The servers of a lab with several managers, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from lab import Lab, LabError, postgres
from lab.topology import DATABASES, MANAGERS
from storage.location import ServerURL, location_of


def test_managers_ask_both_servers_for_the_one_that_writes() -> None:
    assert location_of(postgres.URL) == ServerURL(postgres.URL)
    words = conninfo_to_dict(postgres.URL)
    assert words["host"] == ",".join(host.address for host in DATABASES)
    assert words["target_session_attrs"] == "read-write"


def test_only_managers_and_servers_may_connect() -> None:
    allowed = {line.split()[3].removesuffix("/32") for line in postgres.ACCESS if line.startswith("host ")}
    assert allowed == {host.address for host in (*MANAGERS, *DATABASES)}


@pytest.mark.parametrize("more", [{}, {"synchronous_standby_names": "database2"}])
def test_settings_are_written_as_the_server_reads_them(tmp_path: Path, more: dict[str, str]) -> None:
    postgres._configure(tmp_path, more)
    lines = (tmp_path / "postgresql.conf").read_text().splitlines()
    assert ("synchronous_standby_names = 'database2'" in lines) is bool(more)
    assert all(name in (tmp_path / "pg_hba.conf").read_text() for name in ("local", "replication"))


def test_several_managers_need_postgresql_and_one_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "PROGRAMS", tmp_path)
    monkeypatch.setenv("CLOUD_LAB_DIR", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match=r"not installed \(apt-get install postgresql\)"):
        Lab("several", managers=2).up()
    with pytest.raises(LabError, match="need root"):
        Lab("one").up()
    assert [*tmp_path.iterdir()] == []
