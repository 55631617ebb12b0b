"""A disk of a fault's own is full when it is wanted, has room again afterwards, and is gone in the end."""

import errno
import subprocess

import pytest

from faults import small_disk
from faults.not_injected import NotInjected
from faults.small_disk import SmallDisk


def test_it_is_full_has_room_again_and_is_gone() -> None:
    try:
        with SmallDisk(1) as disk:
            note = disk.folder / "note"
            assert disk.fill() > 900_000
            with pytest.raises(OSError) as full:
                note.write_text("x")
            assert full.value.errno == errno.ENOSPC
            disk.free()
            note.write_text("x")
    except NotInjected as reason:
        pytest.skip(f"{reason}: mounting takes a user who may")
    assert not disk.folder.exists()


def test_a_machine_that_may_not_mount_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*command: str) -> None:
        raise subprocess.CalledProcessError(32, command, stderr="mount: permission denied.\n")

    monkeypatch.setattr(small_disk, "_mount", refused)
    with pytest.raises(NotInjected, match="permission denied"), SmallDisk(1):
        pass
