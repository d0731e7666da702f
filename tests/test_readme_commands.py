"""The README's first two commands set everything up, and CI runs the second one."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_first_installs_and_runs_and_the_second_installs_and_tests():
    first, second, *_ = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.M | re.S)
    assert first.strip().endswith("&& accelsim run configs/quickstart.yaml --overwrite")
    assert second.strip().endswith("pip install -q -e '.[test]' && pytest -q -n auto")
    assert first.startswith("python3 -m venv .venv && ")
    assert second.startswith("python3 -m venv .venv && ")
