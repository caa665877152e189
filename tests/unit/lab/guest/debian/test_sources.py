from __future__ import annotations

import platform

import pytest

from lab.errors import LabError
from lab.guest.debian import sources

# Written by `apt-get indextargets --format` on a machine with more sources than Debian's; the host names are changed.
TARGETS = """\
bookworm|deb http://mirror.example/debian/ bookworm main
bookworm|deb http://mirror.example/debian/ bookworm main
bookworm|deb http://mirror.example/debian/ oldstable contrib
bookworm-updates|deb http://mirror.example/debian/ bookworm-updates main
bookworm-security|deb http://security.example/debian-security/ bookworm-security main
bookworm-backports|deb http://mirror.example/debian/ bookworm-backports main
sid|deb http://mirror.example/debian/ sid main
"""
SETTINGS = """\
Acquire "";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages:: "none";
"""


def test_only_suites_of_the_release_are_used_each_once() -> None:
    assert sources.of_release("bookworm", TARGETS) == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ oldstable contrib",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb http://security.example/debian-security/ bookworm-security main",
    ]


def test_lists_that_were_never_fetched_are_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(argv: list[str]) -> str:
        ran.append(argv[1])
        return TARGETS if "update" in ran else "\n"

    monkeypatch.setattr(sources, "run", run)
    assert sources.lines("bookworm")
    assert ran == ["indextargets", "update", "indextargets"]


def test_a_machine_without_a_source_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "run", lambda _argv: TARGETS)
    with pytest.raises(LabError, match=r"no source of Debian trixie: add one to /etc/apt/sources\.list\.d"):
        sources.lines("trixie")


def test_the_machine_s_proxy_and_checks_are_used_but_not_its_choice_of_indexes() -> None:
    assert sources.settings(lambda: SETTINGS) == (
        'Acquire "";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::Languages:: "none";\n'
    )


def test_another_distribution_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ubuntu = {"ID": "ubuntu", "VERSION_CODENAME": "noble", "PRETTY_NAME": "Ubuntu 24.04 LTS"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: ubuntu)
    with pytest.raises(LabError, match=r"this is Ubuntu 24\.04 LTS: build it on Debian and copy the image"):
        sources.release()
