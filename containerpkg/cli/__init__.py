"""What a person types: the only code that prints, or ends the program."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from typing import NoReturn

from containerpkg.cli.closing import ReaderGoneError
from containerpkg.errors import NO_SPACE, ContainerpkgError, HostError, UsageError


def main() -> NoReturn:
    """Run the command line; every error becomes one sentence, a hint and an exit status."""
    import click

    from containerpkg.cli.root import cli

    debug = "--debug" in sys.argv[1:]
    _open_streams()
    # A cancelled job must not leave its builders behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        terminals = [handle for handle in (1, 2) if os.isatty(handle)]
        signal.signal(signal.SIGHUP, lambda *_: _hung_up(terminals))
    try:
        status = cli.main(prog_name="containerpkg", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Exit as request:
        sys.exit(request.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(UsageError.exit_status)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "containerpkg"
        _fail(UsageError(_sentence(error.format_message()), hint=f"{command} --help"))
    except click.ClickException as error:
        _fail(UsageError(_sentence(error.format_message())))
    except (KeyboardInterrupt, click.Abort):
        _interrupted()
    except (BrokenPipeError, ReaderGoneError):
        _drop_output()
        sys.exit(128 + signal.SIGPIPE)
    except (ContainerpkgError, OSError) as error:
        if debug:
            traceback.print_exception(error)
        _fail(error if isinstance(error, ContainerpkgError) else _host_error(error))


def _fail(error: ContainerpkgError) -> NoReturn:
    try:
        if "--json" in sys.argv[1:]:
            data = {"message": error.message, "hint": error.hint, "status": error.exit_status}
            json.dump({"error": data}, sys.stdout, indent=2, ensure_ascii=False)
            print()
        sys.stdout.flush()
    except OSError:
        _drop_output()
    tell(error)
    sys.exit(error.exit_status)


def tell(error: ContainerpkgError) -> None:
    """Say on standard error what went wrong and what to do."""
    print(f"containerpkg: error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


def _sentence(message: str) -> str:
    """What click says, as all our messages are written."""
    return message[:1].lower() + message[1:].rstrip(".")


def _host_error(error: OSError) -> HostError:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HostError(
            f"no space left on the disk{where}",
            hint=NO_SPACE,
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return HostError(
            f"no permission{where}: {error.strerror}",
            hint=f"check owner and permissions: ls -ld {error.filename or '.'}",
        )
    return HostError(f"{error.strerror or error}{where}", hint="run again with --debug for details")


def _hung_up(terminals: list[int]) -> NoReturn:
    """The terminal is gone: end as for an interrupt, and write nothing to it any more."""
    # The kernel and the shell both say so; the second must not disturb the end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for handle in terminals:
        os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
    raise KeyboardInterrupt


def _open_streams() -> None:
    """What was closed by whoever started us is open and leads nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115


def _drop_output() -> None:
    """Forget what cannot be written, or the interpreter tries once more and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted() -> NoReturn:
    from containerpkg import process

    process.end_running()
    print("containerpkg: interrupted; run the command again to go on", file=sys.stderr)
    sys.stderr.flush()
    # Threads may still wait for an engine; what they had open is swept by the next run.
    os._exit(130)
