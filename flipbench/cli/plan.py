"""``flipbench plan SUITE`` (and ``run --dry-run``)."""

import argparse
import os
from collections import Counter

from flipbench.cli.common import plan_of, store_of, suite_of
from flipbench.cli.output import print_json, print_table
from flipbench.cost import expected_seconds
from flipbench.schedule.display import duration
from flipbench.store.runs import Store
from flipbench.suite import Suite


def main(args: argparse.Namespace) -> int:
    suite = suite_of(args)
    return show(suite, store_of(suite), args.workers, args.json)


def show(suite: Suite, store: Store, workers: int | None, as_json: bool) -> int:
    """Print a line a (data set, method, role): stages, done, to run, and expected time."""
    plan = plan_of(suite, store)
    stages, needed = plan.stages(), plan.needed(store)
    seconds = expected_seconds(needed, store)
    groups = Counter((s.dataset, s.method, s.role) for s in stages)
    done = Counter((s.dataset, s.method, s.role) for s in stages if store.done(s))
    to_run = Counter((s.dataset, s.method, s.role) for s in needed)
    slots = workers or os.cpu_count() or 1
    unknown = [s for s in needed if s.key not in seconds]
    if as_json:
        print_json(
            {
                "suite": suite.suite,
                "protocol": suite.protocol,
                "stages": [
                    {
                        "key": s.key,
                        "role": s.role,
                        "dataset": s.dataset,
                        "method": s.method,
                        "seed": s.seed,
                        "done": store.done(s),
                        "expected_seconds": seconds.get(s.key),
                    }
                    for s in stages
                ],
                "to_run": len(needed),
                "search_pending": plan.choosing,
                "expected_seconds": None if unknown else sum(seconds.values()) / slots,
            }
        )
        return 0
    rows = []
    for group, count in groups.items():
        of_group = [s for s in needed if (s.dataset, s.method, s.role) == group]
        known = [seconds[s.key] for s in of_group if s.key in seconds]
        cost = "" if not of_group else duration(sum(known)) if len(known) == len(of_group) else "not measured yet"
        rows.append([*group, str(count), str(done[group]), str(to_run[group]), cost])
    columns = ["data set", "method", "stage", "stages", "done", "to run", "expected"]
    print_table(columns, rows, right=frozenset(columns[3:]))
    total = f"{len(needed)} of {len(stages)} stages to run"
    if needed and not unknown:
        total += f", about {duration(sum(seconds.values()) / slots)} on {slots} slots"
    elif unknown:
        total += f"; {len(unknown)} are like none that has finished here, so the time is not known yet"
    if plan.choosing:
        total += "; the seeds' runs follow once each search has chosen"
    print(total)
    return 0
