"""A location is a file, or the URL of a database without a password."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cli
from core.errors import Refused
from menu.arguments import parser
from storage.location import ServerURL, absolute, location_of, own_path
from tests.support.paths import ROOT

URL = "postgresql://cloud@db.example.org/cloud"


@pytest.mark.parametrize("text", ["database.yaml", "/a/b.yaml", "postgresql", "postgresql:/x", "http://a/b"])
def test_other_words_are_files(text: str) -> None:
    assert location_of(text) == Path(text)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "postgres://db/cloud",
        "postgresql:///?service=cloud",
        "postgresql:///cloud?host=/run/postgresql&user=a%40b",
        "postgresql://cloud@one:5432,two:5433/cloud?target_session_attrs=read-write",
        "postgresql://[::1]:5432/cloud",
        "postgresql://db/a:b@c?passfile=/etc/cloud/pgpass",
    ],
)
def test_a_url_without_a_password_is_a_database(url: str) -> None:
    assert location_of(url) == ServerURL(url)
    assert absolute(location_of(url)) == str(location_of(url)) == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://cloud:secret@db/cloud",
        "postgres://cloud:@db/cloud",
        "postgresql://:secret@/cloud",
        "postgresql://db/cloud?password=secret",
        "postgresql://db?user=x&password=secret",
        "postgresql:///cloud?user=x&pass%77ord=secret",
        "postgresql:///cloud?sslpassword=secret",
    ],
)
def test_a_url_with_a_password_is_refused_and_not_repeated(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match=r"^a URL with a password shows it.*PGPASSFILE.*service file"):
        location_of(url)
    with pytest.raises(SystemExit) as ended:
        parser("database.yaml").parse_args(["--database", url, "list"])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "a URL with a password" in said
    assert "secret" not in said


@pytest.mark.parametrize("url", ["postgresql://db/clo\u00fcd", "postgresql://db/\n", "postgresql://db/\udcff"])
def test_a_url_is_plain_text(url: str) -> None:
    with pytest.raises(Refused, match="printable ASCII"):
        location_of(url)


def test_the_environment_names_the_database_and_the_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_DATABASE", URL)
    assert parser(cli._default_database()).parse_args(["list"]).database == ServerURL(URL)
    assert parser(cli._default_database()).parse_args(["--database", "x.yaml", "list"]).database == Path("x.yaml")


def test_a_password_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUD_DATABASE", "postgresql://cloud:secret@db/cloud")
    with pytest.raises(SystemExit):
        parser(cli._default_database()).parse_args(["list"])
    assert "secret" not in capsys.readouterr().err


def test_a_manager_keeps_its_own_files_beside_the_file_or_in_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert own_path(Path("a/database.yaml")) == Path("a/database.yaml")
    assert own_path(ServerURL(URL)) == Path("/state/cloud-repositorio/cloud_db.example.org_cloud")
    assert own_path(ServerURL("postgresql://")) == Path("/state/cloud-repositorio/cloud")
    assert own_path(ServerURL("postgresql:///../..?x=" + "y" * 300)).parent == Path("/state/cloud-repositorio")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert own_path(ServerURL(URL)).parent == Path("/home/me/.local/state/cloud-repositorio")


WITHOUT_DRIVER = """
import sys
sys.modules["psycopg"] = None
import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_missing_driver_is_one_sentence() -> None:
    words = [sys.executable, "-c", WITHOUT_DRIVER, "--database", URL, "list"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: A PostgreSQL database needs the Python package psycopg, which is missing; install it with pip install "
        "--require-hashes -r requirements-postgres.lock\n"
    )


def test_the_driver_is_not_imported_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "database.yaml").write_bytes((ROOT / "database.yaml").read_bytes())
    lines = (
        "import sys, cli",
        "assert cli.main(['--database', sys.argv[1], 'user', 'list']) == 0",
        "assert not [name for name in sys.modules if name.startswith('psycopg')]",
    )
    words = [sys.executable, "-c", "\n".join(lines), str(tmp_path / "database.yaml")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
