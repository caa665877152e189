"""A location is a file, or the URL of a database without a password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import Refused
from menu.arguments import parser
from storage.location import ServerURL, absolute, location_of
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


def said(folder: Path, *words: str, **environment: str) -> str:
    """Return the error output of the program in a folder, which is its user's home."""
    argv = [sys.executable, str(ROOT / "cli.py"), *words]
    env = {**os.environ, "HOME": str(folder), **environment}
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, env=env, input="").stderr


def test_the_environment_names_the_database_and_the_option_wins(tmp_path: Path) -> None:
    nowhere = f"postgresql:///cloud?host={tmp_path}/none"
    assert said(tmp_path, "list", CLOUD_DATABASE=nowhere).startswith(f"Error: The database {nowhere} cannot be used")
    assert "none.yaml does not exist" in said(tmp_path, "--database", "none.yaml", "list", CLOUD_DATABASE=nowhere)
    assert "secret" not in said(tmp_path, "list", CLOUD_DATABASE="postgresql://cloud:secret@db/cloud")


def test_the_environment_of_a_restricted_session_names_no_database(tmp_path: Path) -> None:
    """The user's end of the connection may have set it."""
    (tmp_path / "database.yaml").write_bytes((ROOT / "database.yaml").read_bytes())
    nowhere = {"CLOUD_DATABASE": f"postgresql:///cloud?host={tmp_path}/none", "SSH_ORIGINAL_COMMAND": "help"}
    assert "Your password came with the program" in said(tmp_path, "--user", "student", **nowhere)
    assert not (tmp_path / ".local").exists()


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
