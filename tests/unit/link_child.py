"""A child of the link tests: does what each job's `extra` says. Run as a program."""

from __future__ import annotations

import sys
import time

from celeriac import _native


def main(fd: int) -> None:
    channel = _native.ChildChannel(fd)
    channel.ready()
    while True:
        try:
            job = channel.next(60.0)
        except EOFError:
            return
        if job is None:
            continue
        if job.extra == b"hang":
            time.sleep(600)  # the test kills it
        args, _kwargs, _embed = job.body()
        summary = repr((job.task, job.id, job.queue, len(job.raw_body()), len(args)))
        channel.reply(job.seq, 7, b'{"id": "%s"}' % (job.id or "").encode(), summary.encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
