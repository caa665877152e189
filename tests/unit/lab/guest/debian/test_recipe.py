from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.guest.debian import recipe, sources

FRR_DAEMONS = """\
# The watchfrr, zebra and staticd daemons are always started.
bgpd=no
ospfd=no
ospf6d=no
vtysh_enable=yes
"""


def test_the_packages_are_named_without_their_reasons() -> None:
    names = recipe.packages()
    assert {"cloud-init", "openssh-server", "frr", "linux-image-cloud-amd64"} <= {*names}
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in names)
    assert names == sorted(set(names))


def test_all_sources_and_packages_are_given_to_mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    monkeypatch.setattr(sources, "lines", lambda codename: [f"deb http://mirror.example/ {codename} main"])
    monkeypatch.setattr(sources, "settings", lambda: 'Acquire::http::Proxy "http://proxy.example";\n')
    words = recipe.bootstrap(folder / "tree", folder, "bookworm")
    assert words[:2] == ["timeout", "900"]
    assert words[-3:] == ["bookworm", folder / "tree", folder / "sources.list"]
    assert f"--include={','.join(recipe.packages())}" in words
    assert f"""--essential-hook=cp --archive '{folder}/rootfs'/. "$1\"""" in words
    assert (folder / "sources.list").read_text() == "deb http://mirror.example/ bookworm main\n"
    assert (folder / "apt.conf").read_text().startswith("Acquire::http::Proxy")
    assert (folder / "dpkg.cfg").read_text().endswith("force-unsafe-io\n")


def test_files_get_the_guest_s_modes_whatever_the_checkout_has(tmp_path: Path) -> None:
    private = tmp_path / "checkout"
    (private / "etc").mkdir(parents=True, mode=0o700)
    (private / "etc/fstab").touch(0o600)
    copy = recipe.copied(private, tmp_path / "copy")
    assert (copy / "etc").stat().st_mode & 0o777 == 0o755
    assert (copy / "etc/fstab").stat().st_mode & 0o777 == 0o644


def test_cloud_init_waits_for_a_seed_on_a_disk_and_for_nothing_else() -> None:
    settings = (recipe.HERE / "rootfs/etc/cloud/cloud.cfg.d/90_guest.cfg").read_text()
    assert "\ndatasource_list: [NoCloud, None]\n" in settings, "on one line: ds-identify is a shell script"


def test_ospfd_is_switched_on_and_no_other_daemon() -> None:
    assert recipe.enabled(FRR_DAEMONS, "ospfd") == FRR_DAEMONS.replace("ospfd=no", "ospfd=yes")
    with pytest.raises(LabError, match="no line eigrpd=no"):
        recipe.enabled(FRR_DAEMONS, "eigrpd")


def test_no_host_of_packages_is_named_in_the_recipe() -> None:
    texts = [path.read_text(encoding="utf-8") for path in recipe.FILES]
    assert not [text for text in texts if re.search(r"https?://|[a-z]\.(org|com|net)\b", text)]
