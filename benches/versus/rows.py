"""The rows: every promise about speed, who it is measured against, and the goal."""

from __future__ import annotations

from functools import partial

import raw
import rivals
import scaling
import workloads
from goals import Goal, Row
from surroundings import Settings, side

CELERY, OURS = side("celery"), side("celeriac")
CELERY_AMQP, OURS_AMQP = side("celery", "amqp"), side("celeriac", "amqp")
OURS_SQLITE = side("celeriac", "sqlite", "sqlite")
SIDES = {"celery": CELERY, "celeriac": OURS}
SIDES_AMQP = {"celery": CELERY_AMQP, "celeriac": OURS_AMQP}
SIDES_RPC = {"celery": side("celery", "amqp", "rpc"), "celeriac": side("celeriac", "amqp", "rpc")}

RESULTS_OFF, UNCONFIRMED = Settings(results=False), Settings(confirms=False)
CONFIRMED = Settings(confirms=True)
POOLS = {"prefork": "prefork 2", "threads": "threads 4", "solo": "solo"}
#: Tasks of a drain: enough for more than a second of ours.
CELERY_TASKS, OUR_TASKS = 1_500, 40_000


def times_celery(least: float, figure: str = "per_s", words: str = "Celery") -> Goal:
    """So many times as much as Celery does."""
    return Goal(figure, "×", at_least=least, over="celery", words=words)


def part_of_celery(most: float, figure: str) -> Goal:
    """At most such a part of what Celery needs."""
    return Goal(figure, "×", at_most=most, over="celery", words="Celery")


def share_of(who: str, least: float) -> Goal:
    """At least such a share of what a bare client does."""
    return Goal("per_s", "%", at_least=least, over=who)


def table(quick: float) -> list[Row]:
    """Every row; `quick` divides the work."""
    seconds = 1.5 / quick
    return [
        *publishing_on_redis(seconds),
        *publishing_on_rabbitmq(seconds),
        *publishing_on_sqlite(seconds),
        *draining(quick),
        *remembering(quick),
        *answering(2.0 * seconds),
        *starting(),
        *payloads(quick, seconds),
        *growing(quick),
        *idling(),
    ]


def both(measure, sides=SIDES, **more):
    """The same measurement of both sides."""
    return {name: partial(measure, one, **more) for name, one in sides.items()}


def publishing_on_redis(seconds: float) -> list[Row]:
    """Nobody consumes."""
    publish = partial(both, workloads.publishing, seconds=seconds, settings=Settings())
    loop = {"LPUSH loop": partial(raw.lpush_loop, OURS, seconds)}
    return [
        Row(
            "publish redis publisher",
            "publisher context, Redis, results off",
            {
                **publish(workload="publisher"),
                "redis-benchmark": partial(raw.redis_benchmark, OURS, seconds),
            },
            (
                times_celery(150, words="Celery's reused producer"),
                share_of("redis-benchmark", 0.6),
                Goal("cpu_us", "µs CPU in the producer", at_most=4),
            ),
        ),
        *(
            Row(
                f"publish redis plain {name}",
                f"plain `delay()`, Redis, results {'on' if name == 'results' else 'off'}",
                {**publish(workload=workload), **loop},
                (
                    times_celery(5),
                    share_of("LPUSH loop", 0.65),
                    Goal("cpu_us", "µs CPU", at_most=60),
                ),
            )
            for name, workload in (("ignored", "plain_ignored"), ("results", "plain_with_results"))
        ),
        Row(
            "publish redis group",
            "`group` of 10,000, Redis (Celery: of 1,000)",
            publish(workload="group"),
            (times_celery(100),),
        ),
    ]


def publishing_on_rabbitmq(seconds: float) -> list[Row]:
    """Confirmed and not; nobody consumes."""

    def publish(workload: str, theirs: Settings, ours: Settings):
        of = partial(workloads.publishing, workload=workload, seconds=seconds)
        return {
            "celery": partial(of, CELERY_AMQP, settings=theirs),
            "celeriac": partial(of, OURS_AMQP, settings=ours),
        }

    def bare(window: int):
        return partial(raw.rabbitmq_c, OURS_AMQP, seconds, window)

    return [
        Row(
            "publish rabbitmq publisher confirmed",
            "publisher context, RabbitMQ, confirmed (Celery: unconfirmed)",
            {
                **publish("publisher", UNCONFIRMED, CONFIRMED),
                "rabbitmq-c": bare(raw.WINDOW),
            },
            (times_celery(3, words="Celery unconfirmed"), share_of("rabbitmq-c", 0.9)),
        ),
        Row(
            "publish rabbitmq publisher unconfirmed",
            "publisher context, RabbitMQ, confirms off",
            {**publish("publisher", UNCONFIRMED, UNCONFIRMED), "rabbitmq-c": bare(0)},
            (times_celery(7),),
        ),
        Row(
            "publish rabbitmq plain unconfirmed",
            "plain `delay()`, RabbitMQ, confirms off",
            publish("plain_ignored", UNCONFIRMED, UNCONFIRMED),
            (times_celery(3),),
        ),
        Row(
            "publish rabbitmq plain confirmed",
            "plain `delay()`, RabbitMQ, confirmed (Celery: `confirm_publish`)",
            {**publish("plain_ignored", CONFIRMED, CONFIRMED), "rabbitmq-c": bare(1)},
            (times_celery(2, words="Celery with confirm_publish"), share_of("rabbitmq-c", 0.9)),
        ),
    ]


def publishing_on_sqlite(seconds: float) -> list[Row]:
    """Celery has no such broker: beside it is Python's sqlite3 alone."""
    return [
        Row(
            f"publish sqlite {name}",
            f"{what}, SQLite",
            {
                "celeriac": partial(
                    workloads.publishing, OURS_SQLITE, workload, seconds, Settings()
                ),
                "sqlite3": partial(raw.bare_sqlite, OURS_SQLITE, seconds, batch),
            },
            (Goal("per_s", "%", at_least=0.5, over="sqlite3", words=f"sqlite3, {commits}"),),
        )
        for name, what, workload, batch, commits in (
            ("plain", "plain `delay()`", "plain_ignored", 1, "one commit each"),
            ("publisher", "publisher context", "publisher", 256, "256 to a commit"),
        )
    ]


def draining(quick: float) -> list[Row]:
    """No-ops from a full queue."""
    theirs, ours = int(CELERY_TASKS / quick), int(OUR_TASKS / quick)

    def drain(pool, *options, results=False, ours=ours, sides=SIDES):
        settings = Settings(results=results)
        return {
            name: partial(
                workloads.draining, one, pool, theirs if name == "celery" else ours, settings,
                *options,
            )
            for name, one in sides.items()
        }  # fmt: skip

    many, few = ("--prefetch-multiplier", "64"), ("--prefetch-multiplier", "4")
    factors = {"prefork": 40, "threads": 50, "solo": 50}
    tarsk = {"tarsk": partial(rivals.draining, "tarsk", ours // 4)}
    rows = []
    for pool, factor in factors.items():
        for results in (False, True):
            goals = [times_celery(factor * (0.6 if results else 1.0))]
            sides = drain(pool, *many, results=results)
            if pool == "prefork" and not results:
                goals.append(Goal("per_s", "×", at_least=3, over="tarsk"))
                sides |= tarsk
            rows.append(
                Row(
                    f"drain redis {pool} x64{' results' * results}",
                    f"drain, Redis, {POOLS[pool]}, `--prefetch-multiplier 64`, "
                    f"results {'on' if results else 'off'}",
                    sides,
                    tuple(goals),
                )
            )
    for pool, factor in {"prefork": 25, "threads": 25, "solo": 15}.items():
        rows.append(
            Row(
                f"drain redis {pool} x4",
                f"drain, Redis, {POOLS[pool]}, default multiplier (4), results off",
                drain(pool, *few, ours=ours // 2),
                (times_celery(factor),),
            )
        )
    count = ours // 4
    rows += [
        Row(
            "drain redis prefork info",
            "drain, Redis, prefork 2, `-l INFO` to a file, multiplier 64, results off",
            drain("prefork", *many, "--logfile", ours=ours // 2),
            (times_celery(15, words="Celery at -l INFO"),),
        ),
        Row(
            "drain rabbitmq prefork",
            "drain, RabbitMQ, prefork 2, multiplier 64, results off",
            {
                **drain("prefork", *many, ours=ours // 2, sides=SIDES_AMQP),
                "bare lapin": partial(raw.bare_lapin, OURS_AMQP, ours // 2, 128),
            },
            (times_celery(7), share_of("bare lapin", 0.8)),
        ),
        Row(
            "drain rivals",
            "drain, Redis, two processes, results off: other queues, each at its defaults",
            {
                "dramatiq": partial(rivals.draining, "dramatiq", count // 4),
                "huey": partial(rivals.draining, "huey", count // 4),
            },
            (),
        ),
    ]
    return rows


def remembering(quick: float) -> list[Row]:
    """PSS of the whole tree after some work."""
    return [
        Row(
            f"memory {pool}",
            f"memory of a worker, {POOLS[pool]}, PSS of all its processes",
            both(workloads.remembering, pool=pool, count=int(1_000 / quick)),
            (Goal("pss_mb", "MB", at_most=most),),
        )
        for pool, most in (("prefork", 60), ("solo", 35))
    ]


def answering(seconds: float) -> list[Row]:
    """One call at a time."""
    limits = {
        "redis": ("Redis", SIDES, 0.25, (Goal("p50_ms", "ms p50", at_most=0.5),
                                         Goal("p99_ms", "ms p99", at_most=1.0))),
        "rabbitmq redis": ("RabbitMQ with results on Redis", SIDES_AMQP, 0.5, ()),
        "rabbitmq rpc": ("RabbitMQ with `rpc://`", SIDES_RPC, 0.5, ()),
    }  # fmt: skip
    return [
        Row(
            f"latency {name}",
            f"`delay().get()`, {where}, prefork 2",
            both(workloads.answering, sides, pool="prefork", seconds=seconds),
            (*absolute, part_of_celery(part, "p50_ms"), part_of_celery(part, "p99_ms")),
        )
        for name, (where, sides, part, absolute) in limits.items()
    ]


def starting() -> list[Row]:
    """From nothing."""
    return [
        Row(
            "start import",
            "import the package and make an application",
            both(workloads.importing, times=3),
            (part_of_celery(0.35, "import_ms"),),
        ),
        Row(
            "start first message",
            "a process's first `delay()`, Redis",
            both(workloads.first_message, times=2),
            (Goal("first_ms", "ms", at_most=10),),
        ),
        Row(
            "start worker",
            "a worker is ready, small application, Redis, prefork 2",
            both(workloads.starting, pool="prefork", times=1),
            (part_of_celery(0.4, "ready_ms"),),
        ),
    ]


def payloads(quick: float, seconds: float) -> list[Row]:
    """Large arguments, Redis, solo."""
    sizes = (("1 kB", 1_000, 1_000, 10_000), ("100 kB", 100_000, 200, 1_000),
             ("10 MB", 10_000_000, 6, 6))  # fmt: skip
    return [
        Row(
            f"payload {words}",
            f"an argument of {words}: plain `delay()`; drain with solo",
            {
                "celery": partial(
                    workloads.carrying, CELERY, size, max(4, int(theirs / quick)), seconds
                ),
                "celeriac": partial(
                    workloads.carrying, OURS, size, max(4, int(ours / quick)), seconds
                ),
            },
            (times_celery(1, "sent_per_s"), times_celery(1, "run_per_s")),
            rounds=2,
        )
        for words, size, theirs, ours in sizes
    ]


def growing(quick: float) -> list[Row]:
    """Processor time of worker and Redis for a task, as something grows. Ours alone."""
    count = int(20_000 / quick)
    depths = [1_000, 10_000, 100_000, int(1_000_000 / quick)]

    def flat(most: float) -> tuple[Goal, ...]:
        return (Goal("growth", "× the first", at_most=most),)

    return [
        Row(
            "scale depth",
            "CPU a task: queue depth 1,000 to 1,000,000 (the first 10,000 of it), solo",
            {"celeriac": partial(scaling.deep, OURS, depths)},
            flat(1.2),
            rounds=1,
        ),
        Row(
            "scale depth one",
            "CPU a task at queue depth 1: 500 tasks a second, each wakes the worker, solo",
            {"celeriac": partial(scaling.alone, OURS, int(1_000 / quick))},
            (),
            rounds=1,
        ),
        Row(
            "scale queues",
            "CPU a task: 1 to 16 queues, solo",
            {"celeriac": partial(scaling.several_queues, OURS, [1, 4, 16], count)},
            flat(1.2),
            rounds=2,
        ),
        Row(
            "scale 100 queues",
            "CPU a task: 1 and 100 queues, solo",
            {"celeriac": partial(scaling.several_queues, OURS, [1, 100], count)},
            flat(2.0),
            rounds=2,
        ),
        Row(
            "scale workers",
            "CPU a task: 1 to 8 workers, solo",
            {"celeriac": partial(scaling.several_workers, OURS, [1, 2, 4, 8], 2 * count)},
            flat(1.3),
            rounds=2,
        ),
        Row(
            "scale waiting",
            "CPU a task: nobody and a client waiting for 10,000 other results, solo",
            {"celeriac": partial(scaling.awaited, OURS, [0, 10_000], count)},
            flat(1.2),
            rounds=2,
        ),
    ]


def idling() -> list[Row]:
    """Workers with nothing to do."""
    limits = (
        Goal("cpu_percent", "% CPU", at_most=0.5),
        Goal("wakeups_per_s", "wake-ups a second", at_most=5),
    )
    sides = {"redis": SIDES, "rabbitmq": SIDES_AMQP, "sqlite": {"celeriac": OURS_SQLITE}}
    names = {"redis": "Redis", "rabbitmq": "RabbitMQ", "sqlite": "SQLite"}
    return [
        *(
            Row(
                f"idle {broker}",
                f"an idle worker, prefork 2, {names[broker]}, all its processes",
                both(workloads.idling, who, pool="prefork"),
                limits,
                rounds=1,
            )
            for broker, who in sides.items()
        ),
        Row(
            "idle crowd",
            "300 idle consumers on Redis: scripts for each message",
            {"celeriac": partial(scaling.crowd_scripts, OURS, 300)},
            (Goal("scripts", "scripts a message", at_most=6),),
            rounds=1,
        ),
    ]
