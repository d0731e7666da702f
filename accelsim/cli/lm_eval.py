"""``accelsim lm-eval``: lm-evaluation-harness with the model ``accelsim``."""

from __future__ import annotations

import sys

import click

from accelsim.plugins.extras import need


@click.command(
    "lm-eval", context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run lm-evaluation-harness (`lm_eval ARGUMENTS`), which then knows `--model accelsim`.

    Needs accelsim[lm-eval]; `accelsim lm-eval run --help` shows the harness's own options.
    """
    harness = need("lm_eval.__main__", "lm-eval")
    need("accelsim.parity.lm_eval", "lm-eval")
    sys.argv = ["accelsim lm-eval", *arguments]
    harness.cli_evaluate()
