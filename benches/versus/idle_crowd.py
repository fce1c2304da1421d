"""Many idle consumers in one process: what a Redis sees of as many workers.

Usage: idle_crowd.py URL QUEUE NUMBER. Says "ready", then "one" for each message that one of them
has acknowledged; ends with its standard input.
"""

import os
import sys
import threading

from celeriac import _native

WAIT_S = 30.0


def main():
    url, queue, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    for one in range(number):
        intake = _native.Intake(
            url, None, [{"name": queue}], node=f"idle{one}", prefetch=4, results=None
        )
        intake.start()
        threading.Thread(target=serve, args=(intake,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)  # not: three hundred farewells


def serve(intake):
    while True:
        for delivery in intake.next_events(64, WAIT_S):
            intake.settle(delivery, "ack")
            assert intake.flush(WAIT_S)
            print("one", flush=True)


if __name__ == "__main__":
    main()
