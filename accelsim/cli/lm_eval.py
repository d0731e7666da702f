"""``accelsim lm-eval``: lm-evaluation-harness with the model ``accelsim``."""

from __future__ import annotations

import sys

import click

from accelsim.cli.parity import report_coverage
from accelsim.plugins.extras import need


@click.command(
    "lm-eval", context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.option(
    "--require-coverage",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="End with 1 unless this share of the model's multiplications was in integers.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    context: click.Context, arguments: tuple[str, ...], require_coverage: float | None
) -> int:
    """Run lm-evaluation-harness with integer GEMMs: it then knows `--model accelsim`.

    ARGUMENTS are the harness's own; `accelsim lm-eval run --help` shows them. What accelsim adds
    are the keys of `--model_args`, beside those of the harness's model `hf`:

    \b
      pretrained   a model of the catalog, or a local folder
      method       integers (default), float, or clip
      beta, percentile, granularity
                   how operands are rounded to integers
      backend, bits, strategy, digits, block
                   what multiplies, and how integers are unpacked for it; without
                   a backend the same integers are multiplied in floating point
      plan         the file of a plan, which goes before these, GEMM by GEMM
      gemms, skip, ops
                   which GEMMs of the model

    For example:

    \b
      accelsim lm-eval --model accelsim --tasks python_docs \\
        --include_path configs/lm-eval --model_args pretrained=smollm2-135m,beta=31

    Before requests are answered it says about how long they take (except for generated text,
    whose length is not known), afterwards what stayed in floats. Needs the extra lm-eval.
    """  # noqa: D301
    if arguments in ((), ("--help",), ("-h",)):
        click.echo(context.get_help())
        return 0
    harness = need("lm_eval.__main__", "lm-eval")
    model = need("accelsim.parity.lm_eval", "lm-eval")
    model.TALLIES.clear()
    sys.argv = ["accelsim lm-eval", *arguments]
    harness.cli_evaluate()
    tallies = [(label, tally.summary()) for label, tally in model.TALLIES.items()]
    return int(report_coverage(tallies, require_coverage))
