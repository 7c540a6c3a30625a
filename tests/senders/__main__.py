"""`make senders`: every sender against the strict fakes, and docs/inside/senders.md made of what was seen."""

from __future__ import annotations

import argparse
import sys

from bench.rivals.install import RivalUnavailable
from tests.senders import hosts, page
from tests.senders.catalogue import senders
from tests.senders.run import problems, trial


def main() -> int:
    """Run them one after the other. Returns the exit code: 1 when one of them failed or could not be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.senders", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="only these programs, by file name without suffix"
    )
    parser.add_argument("--count", type=int, default=500, help="pushes of a calm day (%(default)s)")
    parser.add_argument("--times", type=int, default=1, help="calm days, each from a new start (%(default)s)")
    parser.add_argument("--no-page", action="store_true", help="leave docs/inside/senders.md as it is")
    options = parser.parse_args()
    known = senders()
    unknown = set(options.names) - {sender.file.stem for sender in known}
    if unknown:
        parser.error(
            f"there is no program {', '.join(sorted(unknown))}; there are "
            + ", ".join(sender.file.stem for sender in known)
        )
    if reason := hosts.unavailable():
        print(f"senders whose host is fixed cannot be run here: {reason}", file=sys.stderr)
        return 1
    failed = False
    for sender in known:
        if options.names and sender.file.stem not in options.names:
            continue
        try:
            report = trial(sender, count=options.count, times=options.times)
            wrong = problems(report)
        except (RivalUnavailable, RuntimeError) as error:
            wrong = [str(error)]
        else:
            if not options.no_page:
                repeated = options.times > 1 and not wrong
                page.update(
                    known, page.cells(sender, report), page.run_of(sender, report) if repeated else {}
                )
        failed |= bool(wrong)
        print(
            f"{sender.name} {sender.version}: {'; '.join(wrong) if wrong else 'all accepted, counts agree'}",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
