"""What is missing comes with a command that installs it where accelsim came from."""

import importlib.metadata
import json
import logging
import shlex

import pytest

from accelsim.errors import InputError
from accelsim.plugins.extras import how_to_install, lacks, need


class Distribution:
    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (None, ["accelsim[report]"]),
        (
            {"url": "file:///home/a%20b/accelsim", "dir_info": {"editable": True}},
            ["-e", "/home/a b/accelsim[report]"],
        ),
        ({"url": "file:///src/accelsim", "dir_info": {}}, ["/src/accelsim[report]"]),
        (
            {"url": "file:///tmp/accelsim-0.1.0-py3-none-any.whl", "archive_info": {}},
            ["accelsim[report] @ file:///tmp/accelsim-0.1.0-py3-none-any.whl"],
        ),
        (
            {"url": "https://host/accelsim.git", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            ["accelsim[report] @ git+https://host/accelsim.git"],
        ),
    ],
)
def test_an_extra_is_installed_from_where_accelsim_came(origin, words, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution(origin))
    assert shlex.split(how_to_install("report")) == ["pip", "install", *words]


def test_a_missing_library_is_named_with_its_command():
    with pytest.raises(InputError) as raised:
        need("no_such_library.part", "report")
    assert str(raised.value).startswith(
        f"no_such_library is missing: {how_to_install('report')} (No module named"
    )
    assert lacks("no_such_library", "report") in str(raised.value)
    assert lacks("json", "report") == ""


def test_only_a_warning_to_the_authors_of_a_library_is_left_out_of_the_log(caplog):
    need("json", "models")
    log = logging.getLogger("torch.utils._pytree")
    log.warning("%s ... Calling register_constant() on Enum subclasses is deprecated", "X")
    log.warning("another warning")
    need("json", "models")
    assert caplog.messages == ["another warning"]
    assert len(log.filters) == 1
