"""Whether the bits of a model's logits depend on how its prompts are run."""

from accelsim.parity.invariance.measuring import Outcome, measure
from accelsim.parity.invariance.prompts import cut_prompts
from accelsim.parity.invariance.verdict import Verdict, hashes, verdict

__all__ = ["Outcome", "Verdict", "cut_prompts", "hashes", "measure", "verdict"]
