"""Letters and digits drawn in fonts."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from debian_packages import deb, package

from accelsim.errors import InputError
from workloads.models.corpora import glyphs as module
from workloads.models.corpora.glyphs import CLASSES, draw, fetch_glyphs, font_packages, glyphs

matplotlib = pytest.importorskip("matplotlib", reason="needs accelsim[report], which has fonts")
pytest.importorskip("PIL", reason="needs accelsim[models]")

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def font(name):
    return (FONTS / f"{name}.ttf").read_bytes()


def test_every_letter_is_drawn_whole_and_differs_from_the_others():
    images = draw(font("DejaVuSans"))
    assert images.shape == (62, 32, 32)
    assert (images.max((1, 2)) > 200).all()
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]])
    assert not border.any(), "no glyph touches the border"
    assert len(np.unique(images, axis=0)) == 62
    heights = {letter: images[CLASSES.index(letter)].any(1).sum() for letter in "xX"}
    assert heights["x"] < heights["X"], "small letters stay small"
    assert (draw(font("DejaVuSans-Bold")) != images).any()


def test_fonts_without_all_letters_and_what_is_no_font_are_left_out():
    assert draw(font("STIXSizOneSymReg")) is None
    assert draw(b"no font") is None


def test_the_fonts_of_the_test_are_not_in_training(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path / "cache"))
    names = {"fonts-one": "DejaVuSans", "fonts-two": "DejaVuSerif", "fonts-no": "STIXSizOneSymReg"}
    entries = []
    for name, file in names.items():
        # The same font in two formats counts once.
        content = deb({f"/usr/share/fonts/{file}{end}": font(file) for end in (".ttf", ".otf")})
        (tmp_path / f"{name}_1_all.deb").write_bytes(content)
        entries.append(package(name, content, held_out=name == "fonts-two"))
    listed = tmp_path / "fonts.yaml"
    listed.write_text(yaml.safe_dump(entries))
    monkeypatch.setattr(module, "_LIST", listed)
    with pytest.raises(InputError, match="get them by `accelsim workloads fetch glyphs`"):
        glyphs()
    path = fetch_glyphs(tmp_path)
    found = glyphs()
    for (images, labels), name in ((found.train, "DejaVuSans"), (found.held_out, "DejaVuSerif")):
        expected = torch.from_numpy(draw(font(name)))[:, None].float() / 255
        assert torch.equal(images, expected)
        assert torch.equal(labels, torch.arange(62))
    assert found.source["data"] == "letters and digits of 2 fonts of Debian"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cannot be read: .*; remove it and fetch it again"):
        glyphs()


def test_the_list_of_packages():
    packages = font_packages()
    assert len({found.name for found in packages}) == len(packages) == 59
    assert 0.1 < sum(found.held_out for found in packages) / len(packages) < 0.3
