"""Seeds on a worker: the steps that write and remove them, run by this machine's shell in a folder."""

from __future__ import annotations

import base64
import os
import subprocess
import zlib
from pathlib import Path

import pytest

from core.flavors import Devices, Flavor
from core.names import VMFiles
from machines.seed import seed
from machines.seed_files import SEEDS, SeedFiles
from models import Slice
from remote.plan import Command, Step
from tests.unit.machines.test_seed import seeded

FILES = VMFiles("vm_images", 1000, "vm1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / FILES.folder).mkdir(parents=True, mode=0o700)
    return tmp_path


@pytest.fixture
def slice_() -> Slice:
    """Return a slice whose first VM takes a seed."""
    slice_ = seeded()
    slice_.vms[0].flavor = Flavor(devices=Devices(seed="nocloud"))
    return slice_


def call(home: Path, argv: tuple[str, ...], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=home, input=stdin, capture_output=True, text=True, check=False)


def write_of(slice_: Slice) -> tuple[Step, Command]:
    (step,) = SeedFiles("vm_images").write(slice_, slice_.vms)
    (command,) = step.do
    assert isinstance(command, Command)
    return step, command


def do(home: Path, slice_: Slice) -> bool:
    """Carry out the step as a batch does; return whether it had something to do."""
    _, command = write_of(slice_)
    if call(home, command.unless).returncode == 0:
        return False
    done = call(home, command.argv, command.stdin)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return True


def test_only_vms_whose_flavor_takes_one_have_a_seed(slice_: Slice) -> None:
    step, command = write_of(slice_)
    assert (step.title, step.objects) == ("seed of vm1", ("slice-1000/vm1.seed",))
    assert command.as_user
    assert command.secret
    (check,) = SeedFiles("vm_images").check(slice_, slice_.vms[0].worker_ip)
    assert [each.name for each in check.do if isinstance(each, Command)] == [SEEDS]
    slice_.vms[0].flavor = None
    assert not [*SeedFiles("vm_images").write(slice_, slice_.vms)]
    assert not [*SeedFiles("vm_images").check(slice_, slice_.vms[0].worker_ip)]


def test_no_argument_of_a_command_holds_a_secret(slice_: Slice) -> None:
    """Arguments are seen in plans, logs, and by everybody on the worker."""
    step, command = write_of(slice_)
    vm = slice_.vms[0]
    words = " ".join((*command.argv, *command.unless, *(word for undo in step.undo for word in undo.argv)))
    for secret in (vm.password, vm.host_secret, slice_.ssh_secret, command.stdin.strip(), slice_.keys[0]):
        assert secret
        assert secret not in words


def test_a_seed_is_written_once_and_for_its_user_only(home: Path, slice_: Slice) -> None:
    before = os.umask(0o002)
    try:
        assert do(home, slice_)
    finally:
        os.umask(before)
    file = home / FILES.seed
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == zlib.decompress(base64.b64decode(seed(slice_, slice_.vms[0]).packed), wbits=47)
    assert not do(home, slice_)
    assert [path.name for path in file.parent.iterdir()] == ["vm1.seed"]


def test_a_seed_that_differs_is_written_again(home: Path, slice_: Slice) -> None:
    do(home, slice_)
    slice_.keys = []
    assert do(home, slice_)
    assert not do(home, slice_)


@pytest.mark.parametrize("spoil", ["chmod 640 {0}", ": >{0}", "ln -sf /etc/passwd {0}", "ln -sf nowhere {0}", "rm {0}"])
def test_a_seed_that_is_not_as_it_should_be_is_replaced(home: Path, slice_: Slice, spoil: str) -> None:
    do(home, slice_)
    right, others = (home / FILES.seed).read_bytes(), Path("/etc/passwd").read_bytes()
    call(home, ("sh", "-c", spoil.format(FILES.seed)))
    assert do(home, slice_)
    assert (home / FILES.seed).read_bytes() == right
    assert not (home / FILES.seed).is_symlink()
    assert Path("/etc/passwd").read_bytes() == others


def test_a_vm_that_runs_keeps_the_seed_that_it_has(home: Path, slice_: Slice) -> None:
    do(home, slice_)
    before = (home / FILES.seed).read_bytes()
    with subprocess.Popen(("sh", "-c", "sleep 60; :", "slice1000-vm1001")) as process:
        (home / FILES.pid_file).write_text(f"{process.pid}\n")
        slice_.keys = []
        assert not do(home, slice_)
        (home / FILES.seed).chmod(0o644)
        assert do(home, slice_), "others must not read it, whether the VM runs or not"
        process.kill()
    assert (home / FILES.seed).read_bytes() != before


def test_an_undo_removes_the_seed_and_what_is_left_of_writing_one(home: Path, slice_: Slice) -> None:
    do(home, slice_)
    (home / f"{FILES.seed}.part").write_text("half")
    step, _ = write_of(slice_)
    for command in step.undo * 2:
        assert call(home, command.argv).returncode == 0
    assert not [*(home / FILES.folder).iterdir()]


def test_what_was_there_before_a_run_stays(home: Path, slice_: Slice) -> None:
    step, _ = write_of(slice_)
    do(home, slice_)
    (check,) = SeedFiles("vm_images").check(slice_, slice_.vms[0].worker_ip)
    (command,) = (each for each in check.do if isinstance(each, Command))
    there = call(home, command.argv)
    assert there.stdout == f"{FILES.seed}\n"
    assert step.sparing({SEEDS: there.stdout}).undo == ()
    assert step.sparing({SEEDS: ""}).undo == step.undo


def test_a_folder_in_the_place_of_a_seed_is_reported(home: Path, slice_: Slice) -> None:
    (home / FILES.seed).mkdir()
    (check,) = SeedFiles("vm_images").check(slice_, slice_.vms[0].worker_ip)
    (command,) = (each for each in check.do if isinstance(each, Command))
    assert "remove it" in call(home, command.argv).stderr


def test_a_seed_that_is_cut_off_on_its_way_gets_no_name(home: Path, slice_: Slice) -> None:
    _, command = write_of(slice_)
    assert call(home, command.argv, command.stdin[:400]).returncode
    assert not (home / FILES.seed).exists()
