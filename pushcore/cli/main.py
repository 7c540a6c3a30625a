"""`pushcore`: the group of commands, and their exit statuses."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Sequence

import click
import orjson

import pushcore

from ..audience.problems import BadInput, explain, printable
from ..errors import ConfigurationError, JournalError
from ..redaction import redact, shown_name
from .commands.campaign import campaign
from .commands.channels import channels
from .commands.check import check
from .commands.demo import demo
from .commands.gateway import gateway
from .commands.results import results
from .commands.resume import resume
from .commands.send import send
from .commands.status import status
from .commands.tokens import tokens
from .commands.worker import worker
from .origins import with_origins
from .process.interrupts import ignore, raise_again
from .process.memory import say_last_words, shortage
from .statuses import BAD_INPUT, INCOMPLETE
from .streams import standard_streams

_REPEATING = re.compile("Got unexpected extra argument|No such command")
"""How messages begin that repeat words of the command line that are neither options nor values."""
_LONG = re.compile(r"[^\s'()]{20,}")
"""A word that may be a part of a secret: too short to be recognised."""


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="`pushcore COMMAND --help` shows more, with an example.",
)
@click.version_option(pushcore.__version__, prog_name="pushcore")
@click.pass_context
def cli(context: click.Context) -> None:
    """Send push notifications over HTTP/2, straight to APNs and FCM."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(BAD_INPUT)


cli.add_command(send)
cli.add_command(resume)
cli.add_command(status)
cli.add_command(results)
cli.add_command(check)
cli.add_command(tokens)
cli.add_command(demo)
cli.add_command(channels)
cli.add_command(campaign)
cli.add_command(worker)
cli.add_command(gateway)


def run() -> int:
    """The command `pushcore`: `main` with the standard streams of `streams`."""
    with standard_streams():
        status = main()
    ignore()
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status.

    Every error is one sentence on the standard error and, with --json, an object on the standard output.
    """
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words and ("--output", "-") not in itertools.pairwise(words)  # which has rows then

    def complain(text: str, status: int) -> int:
        try:
            return _complain(text, status, as_json=as_json)
        except MemoryError:
            say_last_words()
            return status

    try:
        raise_again()
        status = cli.main(args=arguments, prog_name="pushcore", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (BadInput, ConfigurationError, JournalError) as error:
        return complain(str(error), BAD_INPUT)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "pushcore"
        text = error.format_message()
        if _REPEATING.match(text):
            text = _LONG.sub(lambda match: f"{len(match[0])} characters", text)
        if error.ctx is not None:
            text = with_origins(text, error.ctx)
        return complain(f"{text} (see {where} --help)", BAD_INPUT)
    except click.ClickException as error:
        return complain(error.format_message(), BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        return complain("interrupted", INCOMPLETE)
    except BrokenPipeError:
        # The reader of the output has closed it; Python must not flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INCOMPLETE
    except OSError as error:
        return complain(f"{shown_name(str(error.filename or 'the system'))}: {explain(error)}", INCOMPLETE)
    except Exception as error:
        text = shortage(error) or f"internal failure, please report it: {type(error).__name__}: {error}"
        return complain(text, INCOMPLETE)


def _complain(text: str, status: int, *, as_json: bool) -> int:
    # The last filter for secrets: a message may quote one that was given in the wrong place.
    sentence = printable(redact(" ".join(text.split())), 1000)
    click.echo(f"pushcore: {sentence}", err=True)
    if as_json:
        summary = {"exit_status": status, "message": sentence}
        with contextlib.suppress(OSError):  # perhaps it is the standard output that failed
            click.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
    return status
