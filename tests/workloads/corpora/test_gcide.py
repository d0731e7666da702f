"""The dictionary as plain text."""

import gzip
import hashlib

import pytest
from click.testing import CliRunner
from debian_packages import deb, described

from accelsim.cli.workload_models import fetch_command
from accelsim.errors import InputError
from workloads.models.corpora import gcide as module
from workloads.models.corpora.gcide import fetch_gcide, gcide, plain_text

DICTIONARY = """
00-database-info
   This file was converted.

Begin file 1 of 26:
        Free \\ software, indented, is no headword.

Lark \\Lark\\ (l[aum]rk (a)), n. [OE. larke, [root]12; akin to
   D. leeuwerik.] (Zool.)
   Any one of {Alauda} and allied genera (family {Alaudid[ae]}),
   as at a caf['e]. [Obs.]
   [1913 Webster]

   Note: The lark sings.
         [1913 Webster]

Lari \\Lari\\ prop. n.
   Birds .
        [WordNet 1.5]
"""

ENTRIES = [
    "Lark, n. (Zool.) Any one of Alauda and allied genera (family Alaudidae), as at a cafe.\n"
    "Note: The lark sings.",
    "Lari prop. n. Birds.",
]


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache of its own, and a package with the small dictionary."""
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path / "cache"))
    content = deb({"/usr/share/dictd/gcide.dict.dz": gzip.compress(DICTIONARY.encode())})
    digests = [hashlib.sha256(x.encode()).hexdigest() for x in (DICTIONARY, plain_text(DICTIONARY))]
    monkeypatch.setattr(module, "PACKAGE", described("dict-gcide", content))
    monkeypatch.setattr(module, "DICTIONARY_SHA256", digests[0])
    monkeypatch.setattr(module, "TEXT_SHA256", digests[1])
    path = tmp_path / "dict-gcide_1_all.deb"
    path.write_bytes(content)
    return path


def test_the_notation_becomes_plain_english_in_an_order_of_its_own():
    text = plain_text(DICTIONARY)
    assert sorted(text.rstrip("\n").split("\n\n")) == sorted(ENTRIES)
    ordered = sorted(ENTRIES, key=lambda entry: hashlib.sha256(entry.encode()).digest())
    assert text == "\n\n".join(ordered) + "\n"


def test_it_is_fetched_once_and_read_from_the_cache(cached):
    with pytest.raises(InputError, match=r"not in the cache .* `accelsim workloads fetch gcide`"):
        gcide()
    said = []
    path = fetch_gcide(cached, said.append)
    assert gcide().content == plain_text(DICTIONARY)
    cached.unlink()
    assert fetch_gcide(cached) == path
    assert said == ["making plain text of it"]
    packed = path.read_bytes()
    path.write_bytes(packed[:-30])
    with pytest.raises(InputError, match="cannot be decompressed"):
        gcide()


def test_the_dictionary_itself_will_do(cached, tmp_path):
    file = tmp_path / "gcide.dict.dz"
    file.write_bytes(gzip.compress(DICTIONARY.encode()))
    fetch_gcide(file)
    assert gcide().content == plain_text(DICTIONARY)


def test_another_dictionary_or_another_text_is_refused(cached, tmp_path, monkeypatch):
    file = tmp_path / "gcide.dict.dz"
    file.write_bytes(gzip.compress(b"Lark \\Lark\\ n.\n   Another.\n"))
    with pytest.raises(InputError, match=r"the dictionary has SHA-256 .*; expected"):
        fetch_gcide(file)
    file.write_bytes(b"not gzip")
    with pytest.raises(InputError, match="cannot be decompressed"):
        fetch_gcide(file)
    monkeypatch.setattr(module, "TEXT_SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"the plain text has SHA-256 .*; expected"):
        fetch_gcide(cached)
    assert not list((tmp_path / "cache" / "corpora").iterdir())


def test_the_command(cached):
    fetch = CliRunner().invoke(fetch_command, ["gcide", "--from", str(cached)])
    assert fetch.exit_code == 0
    assert "licence GPL-2.0-or-later" in fetch.stderr
    assert fetch.stdout.strip() == str(module._path())
    wrong = CliRunner().invoke(fetch_command, ["minilm-l6", "--from", str(cached)])
    assert "--from is for data (gcide, glyphs)" in str(wrong.exception)
    unknown = CliRunner().invoke(fetch_command, ["gcdie"])
    assert "did you mean 'gcide'?" in str(unknown.exception)
