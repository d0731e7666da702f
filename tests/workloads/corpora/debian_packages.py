"""Packages of Debian that tests make themselves."""

import hashlib
import io
import tarfile

from workloads.models.corpora.debian import Package


def deb(files):
    """Return the content of a ``.deb`` file with these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f".{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    archive = b"!<arch>\n"
    for name, content in members.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


def package(name, content, **more):
    """Describe a package with this content."""
    return {"name": name, "version": "1", "sha256": hashlib.sha256(content).hexdigest(), **more}


def described(name, content):
    """Return the description as its class has it."""
    return Package(**package(name, content))
