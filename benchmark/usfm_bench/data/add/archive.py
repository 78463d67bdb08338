"""Unpacks a .zip of images that came from elsewhere: every member is checked before anything is written."""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.readers.files import name_key

MAX_BYTES = 64 * 2**30
"""Of all members, unpacked."""
MAX_MEMBERS = 1_000_000
MAX_RATIO, _SMALL = 100, 2**30
"""An archive that claims more than so many times its own size is a bomb, if it is more than 1 GiB."""
_CHUNK = 2**20
_WHAT_THEN = "Unpack the archive yourself, and give the folder."


class Member(NamedTuple):
    """A file of the archive."""

    info: zipfile.ZipInfo
    name: str


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .zip into a folder that must not exist; hidden files and `__MACOSX` are left out.

    The folder appears whole or not at all, and is readable by its owner alone.

    Raises:
        DataError: every unsafe, unreadable or ambiguous member, each with its path.
        BenchError: the folder exists or cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise BenchError(
            f"{target}: exists already; '{archive.name}' is unpacked there. Move it, or take another name."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with zipfile.ZipFile(archive) as opened:
            members = check_members(archive, opened.infolist(), archive.stat().st_size)
            faults = list(_write(archive, opened, members, folder))
        if faults:
            raise DataError("\n".join(faults))
        folder.rename(target)
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise DataError(f"{archive}: truncated, or no .zip ({error}). Copy it again.") from None
    except OSError as error:
        raise BenchError(f"{archive}: cannot be unpacked to '{target}': {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_members(archive: Path, infos: list[zipfile.ZipInfo], size: int) -> list[Member]:
    """The files to unpack, of an archive of `size` bytes.

    Raises:
        DataError: every faulty member.
    """
    faults = list(_size_faults(archive, infos, size))
    members = []
    for info in infos:
        name = _name(info)
        wrong = _member_fault(info, name)
        if wrong or name is None:
            faults.append(f"{archive}: {info.orig_filename!a}: {wrong}")
        elif not info.is_dir() and not _hidden(name):
            members.append(Member(info, name))
    faults += _twins(archive, [member.name for member in members])
    if not members and not faults:
        faults = [f"{archive}: holds no files."]
    if faults:
        raise DataError("\n".join([*faults, f"{archive}: nothing was unpacked. {_WHAT_THEN}"]))
    return members


def _size_faults(archive: Path, infos: list[zipfile.ZipInfo], size: int) -> Iterator[str]:
    total = sum(info.file_size for info in infos)
    if len(infos) > MAX_MEMBERS:
        yield f"{archive}: has {len(infos)} members; at most {MAX_MEMBERS} are unpacked."
    if total > MAX_BYTES:
        yield f"{archive}: claims {total / 2**30:.1f} GiB unpacked; at most {MAX_BYTES / 2**30:g} GiB are."
    elif total > _SMALL and total > MAX_RATIO * size:
        yield f"{archive}: claims {total / size:.0f} times its own size unpacked, as images never do. Malicious?"


def _name(info: zipfile.ZipInfo) -> str | None:
    """The member's name; archives of macOS hold UTF-8 without saying so."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode()
    except UnicodeError:
        return None


def _member_fault(info: zipfile.ZipInfo, name: str | None) -> str | None:
    if name is None:
        return "the name is not UTF-8."
    mode = stat.S_IFMT(info.external_attr >> 16)
    faults = {
        "has no name.": not PurePosixPath(name.strip("/")).parts,
        "is an absolute path.": name.startswith("/"),
        "begins with a drive letter.": bool(re.match(r"[A-Za-z]:", name)),
        "leaves the folder ('..').": ".." in re.split(r"[/\\]", name),
        "has a backslash.": "\\" in name,
        "has a control character.": any(ord(c) < 32 or ord(c) == 127 for c in name),
        "is a link.": mode == stat.S_IFLNK,
        "is neither a file nor a folder.": mode not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK),
        "is encrypted.": bool(info.flag_bits & 1),
    }
    return " ".join(fault for fault, holds in faults.items() if holds) or None


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts)


def _twins(archive: Path, names: list[str]) -> Iterator[str]:
    """Names that some systems take for the same, and files that would be folders, too."""
    by_key: dict[str, list[str]] = {}
    for name in names:
        by_key.setdefault(name_key(PurePosixPath(name).as_posix()), []).append(name)
    for same in by_key.values():
        if len(same) > 1:
            what = "differ only in case" if len(set(same)) > 1 else "are there twice"
            yield f"{archive}: {' and '.join(map(repr, same))} {what}."
    folders = {name_key(str(parent)) for name in names for parent in PurePosixPath(name).parents}
    for key in sorted(by_key.keys() & folders):
        yield f"{archive}: {by_key[key][0]!r} is both a file and a folder."


def _write(archive: Path, opened: zipfile.ZipFile, members: list[Member], folder: Path) -> Iterator[str]:
    left = MAX_BYTES
    for info, name in members:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with opened.open(info) as source, path.open("xb") as sink:
                while chunk := source.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise DataError(f"{archive}: unpacks to more than {MAX_BYTES / 2**30:g} GiB. Malicious?")
                    sink.write(chunk)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
            yield f"{archive}: '{name}': damaged, or compressed in a way that is not read here ({error})."
