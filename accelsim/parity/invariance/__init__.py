"""Whether the bits of a model's logits depend on how its prompts are run."""

from accelsim.parity.invariance.measuring import WayOutcome, measure
from accelsim.parity.invariance.prompts import cut_prompts
from accelsim.parity.invariance.verdict import LevelVerdict, hashes, verdict

__all__ = ["LevelVerdict", "WayOutcome", "cut_prompts", "hashes", "measure", "verdict"]
