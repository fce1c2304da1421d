"""The worker as a service: started in order, stopped in reverse."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, cast

from celeriac import broker, serialization, signals
from celeriac._native import Intake, Publisher, redacted
from celeriac.exceptions import OperationalError, WorkerShutdown, WorkerTerminate
from celeriac.green import plain
from celeriac.rustlogs import drain_rust_logs
from celeriac.worker import banner as banners
from celeriac.worker.connect import reach_broker
from celeriac.worker.dispatch import Door
from celeriac.worker.events import WorkerEvents
from celeriac.worker.execute import Executor
from celeriac.worker.health import HealthFile
from celeriac.worker.loop import Loop
from celeriac.worker.options import Options, options_from
from celeriac.worker.pidfile import Pidfile
from celeriac.worker.pools.base import Host, Pool, Resizable
from celeriac.worker.pools.solo import SoloPool
from celeriac.worker.pools.threads import ThreadsPool
from celeriac.worker.remote import Remote, State
from celeriac.worker.revoked import Revoked
from celeriac.worker.settler import Settler
from celeriac.worker.stopping import EX_FAILURE, Stop
from celeriac.worker.unsupported import report_unsupported

__all__ = ("WorkController",)

logger = logging.getLogger("celery.worker")
ready_logger = logging.getLogger("celery.apps.worker")

_WIND_DOWN_S = 20.0
_PURGE_WAIT_S = 30.0


class WorkController:
    """A worker in this process: ``WorkController(app=app, pool="solo").start()``.

    Signals are heard only where `start` is called in the main thread; `stop` may be called from
    any.

    Args:
        app: The application.
        hostname: The node name; ``%h``, ``%n`` and ``%d`` are expanded.
        **options: Celery's names: pool, concurrency, queues, exclude_queues, include, loglevel,
            logfile, pidfile, purge, prefetch_multiplier, task_events, quiet, no_color; and
            allow_unsupported, unsupported_flags.

    Raises:
        ImproperlyConfigured: An option that cannot be; or one that guards production, and has no
            effect yet.
    """

    #: The application of a subclass that is bound to one.
    app: Any = None

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:
        self.app = app or self.app
        self.startup_time = datetime.now(timezone.utc)
        conf = self.app.conf
        self.options: Options = options_from(conf, hostname, options)
        self.hostname = self.options.hostname
        self.concurrency = self.options.concurrency
        self.pool_cls = self.options.pool
        self.loglevel = self.options.loglevel
        self.exitcode: int | None = None
        self.pool: Pool
        self._stop = Stop(
            self.hostname,
            conf.worker_soft_shutdown_timeout,
            waits_idle=conf.worker_enable_soft_shutdown_on_idle,
        )
        self.prefetch = self.options.prefetch
        self._intake: Intake | None = None
        self._remote: Remote | None = None
        self._health: HealthFile | None = None
        self.events: WorkerEvents | None = None
        self._ended = threading.Event()
        self.app.loader.init_worker()
        self.app.set_current()
        signals.celeryd_init.send(
            sender=self.hostname, instance=self, conf=conf, options=dict(options)
        )
        self._set_up_logging()
        self._import_and_select()
        signals.worker_init.send(sender=self)
        report_unsupported(
            self.app,
            options.get("unsupported_flags") or {},
            allow_unsupported=self.options.allow_unsupported,
            pool=self.options.pool,
            limits=self.options.limits,
        )

    def _set_up_logging(self) -> None:
        options = self.options
        colorize = None if options.no_color is None else not options.no_color
        self._has_custom_logging = self.app.log.setup(
            options.loglevel,
            options.logfile,
            redirect_stdouts=False,
            colorize=colorize,
            hostname=self.hostname,
        )

    def _import_and_select(self) -> None:
        for module in self.options.include:
            self.app.loader.import_task_module(module)
        self.app.finalize()
        queues = self.app.amqp.queues
        queues.select(self.options.queues)
        queues.deselect(self.options.exclude_queues)

    # Start -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Run until `stop` or a signal; `exitcode` says how it ended."""
        pidfile = Pidfile(self.options.pidfile) if self.options.pidfile else None
        if pidfile is not None:
            pidfile.acquire()
        try:
            self._run()
        except WorkerShutdown as exc:
            self.exitcode = exc.code if isinstance(exc.code, int) else EX_FAILURE
        except Exception as exc:
            logger.critical("Unrecoverable error: %r", exc, exc_info=True)
            self.exitcode = EX_FAILURE
        finally:
            drain_rust_logs()
            if pidfile is not None:
                pidfile.release()
            self._ended.set()

    def _run(self) -> None:
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=self.app.conf)
        if not self.options.quiet:
            self._show_banner()
        self._redirect_stdouts()
        accept = serialization.accepted(self.app.conf.accept_content)
        host = _LateHost()
        self.pool = self._make_pool(cast("Host", host), accept)
        # From here on there may be threads.
        self.pool.prepare()
        url, options = broker.read_url(self.app)
        queues = [queue.as_spec() for queue in self._consumed().values()]
        backend = self.app.backend
        intake = Intake(
            url,
            self._with_delays(url, options),
            queues,
            node=self.hostname,
            prefetch=self.options.prefetch,
            results=None if backend.is_disabled else plain(backend.native),
            eta_horizon_s=self.app.conf.worker_eta_horizon,
            eta_room=self.app.conf.worker_eta_task_limit,
        )
        self._intake = intake
        self._stop.listen(intake.wakeup_fd)
        try:
            if self._reach(url, options, queues):
                self._consume(intake, host, accept)
        finally:
            self._end(intake)
            self._stop.listen_no_more()
            self._intake = None
        self.exitcode = self._stop.exitcode

    def _with_delays(self, url: str, options: dict[str, Any]) -> dict[str, Any]:
        kind = self.app.conf.broker_native_delayed_delivery_queue_type
        if kind == "quorum" or not url.startswith(("amqp", "pyamqp")):
            return options
        return {"delayed_queue_type": kind, **options}

    def _consume(self, intake: Intake, host: "_LateHost", accept: frozenset[str] | None) -> None:
        revoked = Revoked()
        stamps: dict[str, list[Any]] = {}
        door = Door(
            self.app,
            self.hostname,
            accept,
            _now_ms,
            sender=self,
            revoked=revoked,
            revoked_stamps=stamps,
        )
        settler = Settler(self.app, intake, accept)
        loop = Loop(self.app, intake, door, settler, self._stop, revoked, stamps)
        host.become(loop)
        intake.start()
        self.pool.start(intake)
        self._listen(intake, loop)
        self._tell_of_itself(loop)
        if self.app.conf.worker_health_file:
            path = self.app.conf.worker_health_file
            is_busy = lambda: self._stop.interrupts  # noqa: E731
            self._health = HealthFile(path, self.hostname, intake, is_busy, _now_ms)
            self._health.start()
            loop.turned = _both(self._health.looped, loop.turned)
        signals.worker_ready.send(sender=self)
        ready_logger.info("%s ready.", self.hostname)
        try:
            loop.run(self.pool)
            loop.wind_down()
        except WorkerTerminate:
            logger.warning("Cold shutdown: the task that ran was broken off")

    def _listen(self, intake: Intake, loop: Loop) -> None:
        if not self.app.conf.worker_enable_remote_control:
            return
        state = State(self.app, self.hostname, self, intake, loop, self.pool)
        self._remote = Remote(state, mingles=not self.options.without_mingle)
        self._remote.start()
        loop.tend = self._remote.tend

    def _tell_of_itself(self, loop: Loop) -> None:
        options = self.options
        interval_s = options.heartbeat_interval_s
        if not (options.task_events or interval_s or self._remote):
            return
        events = self.events = WorkerEvents(self.app, self.hostname, loop, self.pool, interval_s)
        is_one_broker = broker.read_url(self.app) == broker.write_url(self.app)
        box = self._remote.box if self._remote is not None and is_one_broker else None
        events.start(box, with_tasks=options.task_events)
        loop.turned = events.turn

    def _end(self, intake: Intake) -> None:
        """Stop in reverse: events, remote control, the pool, what is to be settled, the broker."""
        if self._health is not None:
            self._health.close()
        if self.events is not None:
            self.events.stop()
        if self._remote is not None:
            self._remote.close()
        intake.stop_reserving()
        self.pool.stop(_WIND_DOWN_S)
        try:
            intake.close(_WIND_DOWN_S)
        except OperationalError as exc:  # the broker is away
            logger.error("Not everything could be settled, its leases will run out: %s", exc)  # noqa: TRY400
        except Exception:
            logger.exception("Not everything could be settled; its leases will run out")
        signals.worker_shutdown.send(sender=self)
        self.app.loader.shutdown_worker()

    def _make_pool(self, host: Host, accept: frozenset[str] | None) -> Pool:
        options = self.options
        if options.pool == "solo":
            return SoloPool(Executor(self.app, self.hostname, accept), host, self._stop)
        if options.pool == "threads":
            executor = Executor(self.app, self.hostname, accept)
            return ThreadsPool(self.app, executor, host, options.concurrency)
        if options.pool == "aio":
            # Only where it is asked for: asyncio is slow to import.
            from celeriac.worker.pools.aio.pool import AioPool  # noqa: PLC0415

            executor = Executor(self.app, self.hostname, accept, limits_coroutines=True)
            return AioPool(self.app, executor, host, options.concurrency, options.limits)
        # Only where it is asked for: there is no fork on every system.
        from celeriac.worker.pools.prefork.making import prefork_pool  # noqa: PLC0415

        return prefork_pool(self.app, options, accept, host)

    def _consumed(self) -> dict[str, Any]:
        queues: dict[str, Any] = dict(self.app.amqp.queues.consume_from)
        return queues

    def _reach(self, url: str, options: dict[str, Any], queues: list[dict[str, Any]]) -> bool:
        conf = self.app.conf
        publisher = Publisher(url, options)
        retries = conf.broker_connection_retry_on_startup
        if retries is None:
            retries = conf.broker_connection_retry
        try:
            if not reach_broker(
                publisher,
                queues,
                conf.broker_connection_max_retries,
                self._pause if retries else _never,
            ):
                return False
            if self.options.purge:
                self._purge(publisher, queues)
        finally:
            publisher.close(1.0)
        logging.getLogger("celery.worker.consumer.connection").info(
            "Connected to %s", redacted(url)
        )
        return True

    def _pause(self, wait_s: float) -> bool:
        # Wait for a while, or until somebody asks to stop.
        deadline_s = time.monotonic() + wait_s
        while not self._stop.is_asked and time.monotonic() < deadline_s:
            self._ended.wait(0.1)
        return not self._stop.is_asked

    def _purge(self, publisher: Publisher, queues: list[dict[str, Any]]) -> None:
        count = sum(publisher.purge(queue["name"], _PURGE_WAIT_S) for queue in queues)
        if count:
            noun = "message" if count == 1 else "messages"
            _print(f"purge: Erased {count} {noun} from the queue.\n")

    def _show_banner(self) -> None:
        app, options = self.app, self.options
        facts = banners.Facts(
            hostname=self.hostname,
            app=f"{app.main or '__main__'}:{id(app):#x}",
            transport=redacted(broker.read_url(app)[0]),
            results=app.backend.as_uri(),
            concurrency=f"{options.concurrency} ({options.pool})",
            task_events=options.task_events,
            queues=self._consumed(),
            tasks=app.tasks,
            note=broker.announcement(app),
        )
        _print(banners.banner(facts, options.loglevel, datetime.now().astimezone()))

    def _redirect_stdouts(self) -> None:
        conf = self.app.conf
        if threading.current_thread() is not threading.main_thread():
            return  # Somebody else's program, which prints for itself.
        if conf.worker_redirect_stdouts and not self._has_custom_logging:
            self.app.log.redirect_stdouts(conf.worker_redirect_stdouts_level)

    # Stop ------------------------------------------------------------------------------------

    @property
    def leaves_threads(self) -> bool:
        """Whether a task still runs after `start` has returned.

        A cold stop cannot end a thread. Who gave the process to this worker ends it with
        ``os._exit``: the interpreter would wait for the task.
        """
        return hasattr(self, "pool") and self.pool.leaves_threads

    def stop(self, exitcode: int | None = None) -> None:
        """Ask the worker to finish what runs and end; does not wait.

        Args:
            exitcode: The exit code.
        """
        self._stop.warm(exitcode or 0)
        self._wake()

    def resize_pool(self, by: int) -> None:
        """Run more or fewer tasks at once, with the prefetch that belongs to it.

        Args:
            by: How many more; negative for fewer.

        Raises:
            ValueError: The pool cannot, or nothing would be left of it.
        """
        size = self.concurrency + by
        if not isinstance(self.pool, Resizable):
            message = f"The {self.pool.name} pool has one size."
            raise ValueError(message)  # noqa: TRY004 - a setting's, not a type's
        if size < 1:
            message = f"A pool of {self.concurrency} cannot shrink by {-by}: one must be left."
            raise ValueError(message)
        self.pool.resize(size)
        self.prefetch = self.options.prefetch // self.options.concurrency * size
        self.concurrency = size
        if self._intake is not None:
            self._intake.set_prefetch(self.prefetch)

    def terminate(self) -> None:
        """Ask the worker to end at once; does not wait."""
        self._stop.cold()
        self._wake()

    def wait_ended(self, wait_s: float) -> bool:
        """Wait for the end of `start` in another thread.

        Args:
            wait_s: How long, in seconds.

        Returns:
            Whether it has ended.
        """
        return self._ended.wait(wait_s)

    def _wake(self) -> None:
        intake = self._intake
        if intake is not None:
            intake.wake()


def _both(first: Callable[[], float], second: Callable[[], float]) -> Callable[[], float]:
    def both() -> float:
        return min(first(), second())

    return both


class _LateHost:
    """Stands for the loop in a pool that is made, and forks, before there is one."""

    is_too_late: Callable[[Any], bool]
    started: Callable[[Any, int], None]
    executed: Callable[[Any, Any], None]
    ended: Callable[[Any, Any], None]

    def become(self, real: Host) -> None:
        # No call in between: each of these is made for every task.
        self.is_too_late = real.is_too_late
        self.started = real.started
        self.executed = real.executed
        self.ended = real.ended


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _never(wait_s: float) -> bool:  # noqa: ARG001 - the same shape as a pause
    return False


def _print(text: str) -> None:
    if sys.__stdout__ is not None:
        print(text, file=sys.__stdout__, flush=True)
