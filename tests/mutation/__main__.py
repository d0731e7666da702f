"""Mutation testing: ``python tests/mutation [TARGET ...]`` in a checkout with accelsim[dev].

Each target of ``targets.toml`` is a few files that compute integers or verdicts, and the tests that
are to notice where they are wrong. Mutants that change nothing are listed, each with its reason, in
``equivalent.toml``, and so are statements that run on a GPU only, which are not mutated. The
command ends with 1 where a target has fewer than 95% of the others killed.
"""

import argparse
import json
import os
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

from forks import Instead, Pool, compile_again, preload, run_tests, survey
from mutants import Mutant, is_compiled, lines_of, mutants_of, tree_of

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WANTED = 0.95


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TARGET", help="all without any")
    parser.add_argument("--most", type=int, default=60, help="mutants a target, drawn by hash")
    parser.add_argument("--jobs", type=int, default=2, help="processes beside each other")
    parser.add_argument("--again", type=Path, help="only those that survived in such an output")
    parser.add_argument("--output", type=Path, help="write what became of each mutant, as JSON")
    arguments = parser.parse_args()
    targets = tomllib.loads((HERE / "targets.toml").read_text())
    unknown = set(arguments.names) - set(targets)
    if unknown:
        parser.error(f"no targets: {', '.join(sorted(unknown))}; there are {', '.join(targets)}")
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    preload()
    again = None
    if arguments.again:
        before = json.loads(arguments.again.read_text())
        again = {x["mutant"] for x in before if x["outcome"] == "survived"}
    results, enough = [], True
    for name in arguments.names or targets:
        found = try_target(targets[name], arguments.most, arguments.jobs, again)
        killed, judged = _score(found)
        enough &= killed >= WANTED * judged
        print(summary(name, found), flush=True)
        results += [
            {"target": name, "mutant": m.key, "line": m.line, "outcome": found[m]} for m in found
        ]
        if arguments.output:
            arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    return int(not enough)


def _score(found: dict[Mutant, str]) -> tuple[int, int]:
    """Return how many mutants were killed, and of how many that change something."""
    outcomes = Counter(found.values())
    return outcomes["killed"] + outcomes["timeout"], len(found) - outcomes["equivalent"]


def summary(name: str, found: dict[Mutant, str]) -> str:
    """Say how many of a target's mutants were killed, and which survived."""
    killed, judged = _score(found)
    lines = [f"{name}: {killed} of {judged} killed, {len(found) - judged} change nothing"]
    lines += [f"  line {m.line}: {m.key}" for m in found if found[m] == "survived"]
    return "\n".join(lines)


def try_target(target: dict, most: int, jobs: int, again: set[str] | None) -> dict[Mutant, str]:
    """Return what becomes of the mutants of a target, or of those that are tried again."""
    known = tomllib.loads((HERE / "equivalent.toml").read_text())
    equivalent = {x["mutant"] for x in known["equivalent"]}
    texts = {file: (ROOT / file).read_text() for file in target["files"]}
    every = (m for file, text in texts.items() for m in mutants_of(text, file))
    everywhere = (m for m in every if not _is_on_a_gpu(m, known["gpu"]))
    drawn = sorted(everywhere, key=lambda m: m.order)[:most]
    drawn = [m for m in drawn if again is None or m.key in again]
    found: dict[Mutant, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        lines, seconds = survey([ROOT / file for file in texts], target["tests"], scratch)
        pool = Pool(jobs)
        for number, mutant in enumerate(drawn):
            text = texts[mutant.file]
            tests = _reaching(text, mutant, lines[str(ROOT / mutant.file)], seconds)
            log = scratch / f"{number}.log"

            def attempt(mutant=mutant, text=text, tests=tests, log=log) -> int:
                if is_compiled(text, mutant):
                    compile_again(ROOT / mutant.file, ROOT, log.with_suffix(".numba"))
                tree = tree_of(text, mutant)
                sys.meta_path.insert(0, Instead(ROOT / mutant.file, ROOT, tree))
                return run_tests(tests)

            def done(outcome: str, mutant=mutant) -> None:
                alive = outcome == "survived" and mutant.key in equivalent
                found[mutant] = "equivalent" if alive else outcome
                said = f"{len(found)} of {len(drawn)}: {found[mutant]}: {mutant.key}"
                print(said, file=sys.stderr, flush=True)

            pool.start(attempt, log, 40 + 5 * sum(seconds.get(test, 0.0) for test in tests), done)
        pool.finish()
    return dict(sorted(found.items(), key=lambda x: (x[0].file, x[0].line)))


def _is_on_a_gpu(mutant: Mutant, listed: list[dict]) -> bool:
    """Say whether a mutant's statement runs on a GPU only, where nothing here reaches it."""
    return any(
        f"{mutant.file}::{mutant.function}" == entry["function"]
        and (not entry["statements"] or mutant.before.startswith(tuple(entry["statements"])))
        for entry in listed
    )


def _reaching(text: str, mutant: Mutant, lines: dict, seconds: dict) -> list[str]:
    """Return the tests that reach a mutant's statement, or all where that is unknown.

    What Numba compiles is reached without being seen, and what runs at import serves every test.
    The quickest come first.
    """
    wanted = set(lines_of(text, mutant))
    tests = {test for test, reached in lines.items() if wanted & set(reached)}
    if not tests or tests & {"import", ""}:
        tests = set(seconds)
    return sorted(tests, key=lambda test: seconds.get(test, 0.0))


if __name__ == "__main__":
    sys.exit(main())
