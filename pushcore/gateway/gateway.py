"""`Gateway`: the present apps and callers. A reload replaces them without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from functools import partial

import msgspec

from ..errors import ConfigurationError
from ..queue.errors import QueueError
from .apps import App, fingerprint
from .callers import Caller, Callers
from .config import GatewayConfig, blamed_on
from .expo.sealed import Sealing
from .fleets import Instances
from .operations.numbers import GatewayNumbers
from .problems import GatewayProblem

log = logging.getLogger("pushcore.gateway")


class Gateway:
    """See the module.

    Attributes:
        config: the configuration.
        sealing: seals and opens Expo's tokens and receipts.
        apps: by id.
        callers: by token.
        idempotency: repeats of requests.
        numbers: for Prometheus.
        ending: whether it is about to end; then it accepts no new work.

    Args:
        config: checked.

    Raises:
        BadInput, ConfigurationError: a key or certificate cannot be used.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self.config = self._started = config
        self.sealing = Sealing.of(config)
        self.numbers = GatewayNumbers(
            lambda: [sender for app in self.apps.values() for sender in app.senders]
        )
        self._instances = Instances(config.fleet)
        self.apps: dict[str, App] = {
            section.id: self._make(config, number) for number, section in enumerate(config.app)
        }
        self.callers = Callers(config.caller)
        self.ending = False
        with blamed_on(config.at("fleet", "redis")):
            self.idempotency = self._instances.idempotency()
        self.failure: BaseException | None = None
        """Why `open` failed."""
        self._reloading = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    def _make(self, config: GatewayConfig, number: int) -> App:
        section = config.app[number]
        count = partial(self.numbers.webhook, section.id)
        return App(section, count, self._instances, partial(config.at, "app", number))

    async def open(self) -> None:
        """Get ready to send; connections are opened for the first push. Raises the errors of `_open_all`."""
        try:
            await _open_all(self.apps.values(), self.config)
        except BaseException as error:
            self.failure = error
            raise

    async def close(self) -> None:
        """Finish requests in progress, and close."""
        self.ending = True
        await asyncio.gather(*(app.close() for app in self.apps.values()), *self._retiring)
        await self.idempotency.close()

    def app_of(self, caller: Caller, name: str | None) -> App:
        """The app of a request.

        Args:
            caller: whose request it is.
            name: id of the app; None if the caller has only one.

        Raises:
            GatewayProblem: there is no such app for this caller, or it has several.
        """
        if name is None:
            allowed = caller.apps or self.apps.keys()
            if len(allowed) != 1:
                raise GatewayProblem(422, "no-app", "expected app, because this caller may use several")
            name = next(iter(allowed))
        app = self.apps.get(name)
        if app is None or (caller.apps and name not in caller.apps):
            raise GatewayProblem(422, "no-app", "this caller has no such app")
        return app

    async def reload(self, config: GatewayConfig) -> None:
        """Serve another configuration. Apps that have not changed keep their connections.

        Raises:
            BadInput, ConfigurationError: it cannot be used, and nothing has changed.
        """
        async with self._reloading:
            sealing = Sealing.of(config, self.sealing)
            apps: dict[str, App] = {}
            for number, section in enumerate(config.app):
                old = self.apps.get(section.id)
                same = old is not None and old.fingerprint == fingerprint(
                    section, partial(config.at, "app", number)
                )
                apps[section.id] = old if old is not None and same else self._make(config, number)
            callers = Callers(config.caller, self.callers)
            new = [app for name, app in apps.items() if app is not self.apps.get(name)]
            await _open_all(new, config)
            replaced = [app for name, app in self.apps.items() if apps.get(name) is not app]
            self.config, self.sealing, self.apps, self.callers = config, sealing, apps, callers
            for app in replaced:
                task = asyncio.create_task(app.close_when_idle(), name=f"pushcore gateway closes {app.id}")
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
            log.info("reloaded: %d apps, %d of them new or changed", len(apps), len(new))
            waiting = restart_needed(self._started, config)
            if waiting:
                log.warning("changes that need a restart: %s", ", ".join(waiting))


def restart_needed(before: GatewayConfig, after: GatewayConfig) -> list[str]:
    """The changed parts of a configuration that a reload does not change, by their names in the file.

    Args:
        before: the configuration at the start of the process.
        after: the new configuration.
    """
    changed = []
    for name in ("server", "fleet"):
        old, new = getattr(before, name), getattr(after, name)
        changed += [
            f"[{name}] {field.encode_name}"
            for field in msgspec.structs.fields(old)
            if getattr(old, field.name) != getattr(new, field.name)
        ]
    if before.limits.connections != after.limits.connections:
        changed.append("[limits] connections")
    return changed


async def _open_all(apps: Iterable[App], config: GatewayConfig) -> None:
    """Open all of them or none.

    Raises:
        ConfigurationError: the Redis of `[fleet]` cannot be used.
    """
    async with contextlib.AsyncExitStack() as stack:
        for app in apps:
            stack.push_async_callback(app.close)
            try:
                await app.open()
            except QueueError as error:
                raise ConfigurationError(f"{config.at('fleet', 'redis')}: {error}") from None
        stack.pop_all()
