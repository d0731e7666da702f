"""One product instead of several of one operand, in a graph that PyTorch compiles."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from accelsim.integer_mode.converted.operators import exact_linear, exact_linears


class JoinProducts(CustomGraphPass):
    """Joins products of one operand with several weights, such as those of q, k and v.

    The operand is rounded once, and multiplied once with the rows of all weights, each of which has
    its own scale: every integer is the same. A pass for Inductor::

        torch.compile(model, options={"post_grad_custom_pre_pass": accelsim.JoinProducts()})
    """

    def __call__(self, graph: fx.Graph) -> None:
        """Change a graph."""
        together: dict[tuple[fx.Node, str], list[fx.Node]] = defaultdict(list)
        for node in graph.nodes:
            if node.op == "call_function" and node.target is exact_linear._opoverload:
                scale, settings = node.args[2], node.args[-1]
                if scale.meta["val"].ndim:
                    together[node.args[0], settings].append(node)
        for (x, settings), nodes in together.items():
            if len(nodes) > 1:
                _join(graph, x, settings, nodes)

    def uuid(self) -> Any:
        """Return what tells the pass from its other versions, for caches of what was compiled."""
        return get_hash_for_files((__file__,))


def _join(graph: fx.Graph, x: fx.Node, settings: str, nodes: list[fx.Node]) -> None:
    weights = [tuple(node.args[1:-1]) for node in nodes]
    # Weights are inputs of the graph, and so are before all of its operators.
    with graph.inserting_before(nodes[0]):
        tensors = [list(same) for same in zip(*weights, strict=True)]
        joined = graph.call_function(exact_linears._opoverload, (x, *tensors, settings))
        values = [node.meta["val"] for node in nodes]
        joined.meta["val"] = torch.cat(values, dim=-1)
        first = 0
        parts = []
        for value in values:
            end = first + value.shape[-1]
            part = graph.call_function(torch.ops.aten.slice.Tensor, (joined, -1, first, end))
            part.meta["val"] = joined.meta["val"][..., first:end]
            parts.append(part)
            first = end
    for node, part in zip(nodes, parts, strict=True):
        node.replace_all_uses_with(part)
        graph.erase_node(node)
