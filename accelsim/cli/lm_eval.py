"""``accelsim lm-eval``: lm-evaluation-harness with the model ``accelsim``."""

from __future__ import annotations

import sys

import click

from accelsim.cli.parity import report_coverage
from accelsim.plugins.extras import need


@click.command(
    "lm-eval", context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.option("--require-coverage", type=click.FloatRange(0, 1), metavar="SHARE")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...], require_coverage: float | None) -> int:
    """Run lm-evaluation-harness (`lm_eval ARGUMENTS`), which then knows `--model accelsim`.

    With `--require-coverage 0.99` the exit status is 1 unless this share of the model's
    multiplications was in integers. Needs accelsim[lm-eval]; `accelsim lm-eval run --help` shows
    the harness's own options.
    """
    harness = need("lm_eval.__main__", "lm-eval")
    model = need("accelsim.parity.lm_eval", "lm-eval")
    model.TALLIES.clear()
    sys.argv = ["accelsim lm-eval", *arguments]
    harness.cli_evaluate()
    tallies = [(label, tally.summary()) for label, tally in model.TALLIES.items()]
    return int(report_coverage(tallies, require_coverage))
