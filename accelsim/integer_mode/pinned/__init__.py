"""Everything between the GEMMs of a model with the same bits on every device, in any batch."""

from accelsim.integer_mode.pinned.attention import Folded, fold, folds
from accelsim.integer_mode.pinned.pinning import Pinning
from accelsim.integer_mode.pinned.split import splitting

__all__ = ["Folded", "Pinning", "fold", "folds", "splitting"]
