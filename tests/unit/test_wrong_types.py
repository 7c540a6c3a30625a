"""Every public constructor and function, with values of wrong types for each of its parameters: the error names the parameter."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pushcore as p
from pushcore.http2.proxy import Proxy
from pushcore.journal.campaign import RunRecord, UnfinishedRows
from pushcore.journal.store import JournalStore
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.reasons import lookup
from tests.unit.test_arguments import ACCOUNT, APNS_KEY, apns, fcm

Call = Callable[..., object]

NOT_NUMBERS: list[Any] = [
    None,
    b"7",
    "7",
    [],
    {},
    object(),
    object,
    datetime(2026, 1, 1),
    timedelta(1),
]  # any
NOT_TEXTS: list[Any] = [b"x", 7, 1.5, [], ["x"], {}, object(), object, Path("/x")]
NOT_OBJECTS: list[Any] = [None, b"x", "x", 7, [], {}, object(), object]
NOT_FLAGS: list[Any] = [None, 0, 1, "no", b"", []]
NOT_LISTS: list[Any] = [None, 7, 1.5, True, "x", b"x", object(), object]
HUGE = 10**400


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Call]]:
    """By name: each takes one argument by its name, and has good ones for the others."""
    folder = tmp_path_factory.mktemp("types")
    source = p.Source("devices.csv")
    existing, info = folder / "existing.journal", p.CampaignInfo("name", "fingerprint")
    p.Journal.create(existing, source).close()
    queue = MemoryQueue("name")
    fleet, ledger = p.Fleet(queue), p.Ledger.create(folder / "ledger", info)
    engine = p.PushEngine(apns())
    journal_store = JournalStore.open(str(existing))
    journal_parts = {
        "campaign": journal_store.campaign(),
        "run": RunRecord(1, 0.0, 0.0),
        "rest": UnfinishedRows(0, {}, {}),
    }
    pushes = p.notifications({"aps": {}})
    yield {
        "metrics": p.Metrics,
        "key": lambda **given: p.ApnsKey(
            **{"key": APNS_KEY, "key_id": "ABC123DEFG", "team_id": "TEAM123456", **given}
        ),
        "fcm": lambda **given: p.FcmClient(ACCOUNT, **given),
        "channels": lambda **given: p.Channels(**{"client": apns(), **given}),
        "topics": lambda **given: p.Topics(**{"client": fcm(), **given}),
        "proxy": lambda **given: Proxy(**{"host": "h", "port": 1, **given}),
        "retry": p.RetryPolicy,
        "journal": lambda **given: p.Journal.create(**{"path": folder / "new", "source": source, **given}),
        "reopened": lambda **given: p.Journal.open(**{"path": existing, **given}),
        "source": lambda **given: p.Source(**{"path": "x", **given}),
        "source_of": p.Source.of_file,
        "push_id": lambda **given: p.push_id(**{"campaign_id": "c", "row": 1, **given}),
        "info": lambda **given: p.CampaignInfo(**{"name": "n", "fingerprint": "f", **given}),
        "chunk": lambda **given: p.Chunk(**{"number": 0, "first": 1, "rows": 1, **given}),
        "reference": lambda **given: p.Reference(**{"uri": "u", "start": 0, "end": 1, **given}),
        "inline_chunks": lambda **given: p.inline_chunks(**{"rows": [], **given}),
        "notifications": lambda **given: p.notifications(**{"payload": {}, **given}),
        "ledger": lambda **given: p.Ledger.create(**{"path": folder / "l", "info": info, **given}),
        "coordinator": lambda **given: p.Coordinator(**{"queue": queue, "ledger": ledger, **given}),
        "publish": lambda **given: asyncio.run(p.Coordinator(queue, ledger).publish(**given)),
        "collect": lambda **given: asyncio.run(p.Coordinator(queue, ledger).collect(**given)),
        "fleet": lambda **given: p.Fleet(**{"store": queue, **given}),
        "worker": lambda **given: p.Worker(
            **{"queue": queue, "engine": engine, "fleet": fleet, "pushes": pushes, **given}
        ),
        "open_queue": lambda **given: asyncio.run(
            p.open_queue(**{"url": "redis://[::1]:1", "campaign": "c", **given})
        ),
        "engine": lambda **given: p.PushEngine(apns(), **given),
        "expo": p.ExpoMessage,
        "new_journal": lambda **given: p.Journal(
            **{"store": journal_store, **journal_parts, "unknown": "report", "clock": time.time, **given}
        ),
        "new_ledger": p.Ledger,
    }
    journal_store.close()
    ledger.close()


@pytest.mark.parametrize(
    ("call", "name", "wrong"),
    [
        ("metrics", "reasons", [*NOT_LISTS, [7], [None], [b"x"]]),
        ("key", "key", NOT_OBJECTS),
        ("fcm", "project_id", [b"", b"p", 0, 7, [], {}, "\ud800"]),
        ("channels", "topic", [b"", b"x", 0, [], {}, "", "\ud800"]),
        ("channels", "client", NOT_OBJECTS),
        ("topics", "client", NOT_OBJECTS),
        ("topics", "instance_id", NOT_FLAGS),
        ("topics", "clock", [7, "x", object()]),
        ("topics", "rate", [*NOT_NUMBERS, HUGE, math.nan]),
        ("proxy", "host", [*NOT_TEXTS, None, "", "a\x00b", "a b", "\ud800"]),
        ("proxy", "tls", NOT_FLAGS),
        ("proxy", "ca_file", [7, [], object()]),
        *(("retry", name, [*NOT_NUMBERS, HUGE, math.inf, -1]) for name in ("growth", "max_age", "fcm_wait")),
        ("retry", "growth", [1e6]),
        ("retry", "unknown", [*NOT_TEXTS, None, "no"]),
        ("journal", "path", [None, b"x", 7, [], "", "\ud800"]),
        ("journal", "source", NOT_OBJECTS),
        ("journal", "rows", [*NOT_NUMBERS[1:], -1, 1.5, math.nan, HUGE]),
        *(
            ("journal", name, [*NOT_NUMBERS, -1, 1.5, HUGE, math.inf])
            for name in ("chunk_size", "shard", "shards")
        ),
        ("journal", "campaign_id", [*NOT_TEXTS, "", "x" * 65, "\ud800", "a\x00"]),
        ("journal", "options", [7, "x", b"", [], ["x"]]),
        ("journal", "clock", [None, 7, "x"]),
        ("reopened", "source", NOT_OBJECTS[1:]),
        ("reopened", "unknown", [*NOT_TEXTS, None]),
        ("reopened", "force", NOT_FLAGS),
        ("reopened", "campaign_id", NOT_TEXTS),
        ("reopened", "clock", [None, 7]),
        *(("new_journal", name, NOT_OBJECTS) for name in ("store", "campaign", "run", "rest")),
        ("new_journal", "unknown", [*NOT_TEXTS, None]),
        ("new_journal", "clock", [None, 7, "x"]),
        ("new_ledger", "file", NOT_OBJECTS),
        ("source", "path", NOT_TEXTS),
        *(("source", name, NOT_NUMBERS[1:]) for name in ("size", "mtime")),
        ("push_id", "campaign_id", [*NOT_TEXTS, None, "x" * 65, "\ud800"]),
        ("push_id", "row", [None, "7", b"7", 1.5, [], object(), 0, -1, 1 << 48, datetime(2026, 1, 1)]),
        ("info", "name", [*NOT_TEXTS, None]),
        ("info", "fingerprint", [*NOT_TEXTS, None]),
        ("info", "chunk_rows", [*NOT_NUMBERS, 1.5, True, 0, HUGE]),
        ("info", "options", [None, 7, "x", []]),
        ("info", "needs", [None, 7, "x", [], {"apns": 7}]),
        *(("chunk", name, [*NOT_NUMBERS, 1.5]) for name in ("number", "first", "rows")),
        ("chunk", "reference", NOT_OBJECTS[1:]),
        ("chunk", "payload", [None, "x", 7, []]),
        ("reference", "uri", [*NOT_TEXTS, None]),
        *(("reference", name, NOT_NUMBERS) for name in ("start", "end")),
        ("inline_chunks", "rows", NOT_LISTS),
        *(("inline_chunks", name, [*NOT_NUMBERS, -1, 1.5]) for name in ("chunk_rows", "start")),
        ("notifications", "payload", [None, "x", 7, []]),
        ("notifications", "column", [*NOT_TEXTS, None]),
        ("notifications", "ttl", [7]),
        ("ledger", "info", NOT_OBJECTS),
        ("coordinator", "queue", NOT_OBJECTS),
        ("coordinator", "ledger", NOT_OBJECTS),
        ("publish", "chunks", NOT_LISTS),
        ("collect", "wait", [*NOT_NUMBERS, HUGE, math.nan]),
        ("fleet", "store", NOT_OBJECTS),
        ("fleet", "clock", [None, 7]),
        *(("worker", name, NOT_OBJECTS) for name in ("queue", "engine", "fleet")),
        ("worker", "pushes", [None, 7, "x", []]),
        ("worker", "window", [*NOT_NUMBERS[1:], 0, 1.5]),
        ("worker", "offers", [7, "x", []]),
        ("worker", "name", NOT_TEXTS),
        ("worker", "on_state", [None, 7, "x", []]),
        ("worker", "linger", [*NOT_NUMBERS, -1, HUGE]),
        ("source_of", "path", [None, b"x", 7, [], "", "\ud800"]),
        ("open_queue", "access", NOT_OBJECTS[1:]),
        ("open_queue", "url", [*NOT_TEXTS, None]),
        ("open_queue", "campaign", [*NOT_TEXTS, None, ""]),
        ("open_queue", "idle", [*NOT_NUMBERS, 0]),
        ("engine", "listener", NOT_OBJECTS[1:]),
        ("engine", "shared", [7, "x", {"apns": 7}, {"apns": None}]),
        *(("key", name, [*NOT_TEXTS, None, ""]) for name in ("key_id", "team_id")),
        *(("expo", name, [math.nan, math.inf, "1", []]) for name in ("badge", "ttl", "expiration")),
    ],
)
def test_values_of_wrong_types_name_their_parameter(
    calls: dict[str, Call], call: str, name: str, wrong: list[Any]
) -> None:
    for value in wrong:
        with pytest.raises(ValueError) as caught:  # what it says is looked at below
            calls[call](**{name: value})
        text = str(caught.value)
        assert name in text or name.replace("_id", "'s name") in text or "campaign's name" in text, (
            value,
            text,
        )
        assert len(text) < 300


@pytest.mark.parametrize("value", [b"x", 7, 1.5, [], {}, object(), HUGE])
def test_lookup_never_raises(value: Any) -> None:
    for arguments in ((value, 400, "x"), ("apns", value, "x"), ("apns", 400, value), (None, None, value)):
        assert lookup(*arguments).advice


async def test_methods_of_engines_and_clients_say_what_is_wrong() -> None:
    client, account_client = apns(url="https://127.0.0.1:1"), fcm(url="https://127.0.0.1:1")
    legacy = p.LegacyFcmClient("key", url="https://127.0.0.1:1")
    async with client, account_client, legacy, p.PushEngine(client) as engine:
        for value in (None, 7, 1.5, object(), object):
            with pytest.raises(TypeError, match="source must be an iterable"):
                engine.send_many(value)  # type: ignore[call-overload]  # what the types forbid
            with pytest.raises(TypeError, match="source must be an iterable"):
                engine.stream(value)  # type: ignore[call-overload]  # what the types forbid
            with pytest.raises(p.ConfigurationError, match="journal must be a Journal"):
                engine.send_many([], journal=value or "x")  # type: ignore[call-overload]  # what the types forbid
            with pytest.raises(p.ConfigurationError, match="listener must be a Listener"):
                client.watch(value)  # type: ignore[arg-type]  # what the types forbid
            with pytest.raises(TypeError, match="this client sends LegacyMessage"):
                await legacy.send_multicast(value)  # type: ignore[arg-type]  # what the types forbid
            with pytest.raises(ValueError, match="registrations must be an iterable of tokens"):
                p.Topics(account_client).subscribe("t", value)  # type: ignore[arg-type]  # what the types forbid
            with pytest.raises(ValueError, match="stores must be true or false"):
                await p.Channels(client, url="https://127.0.0.1:1").create(stores=value)  # type: ignore[arg-type]  # what the types forbid
        with pytest.raises(ValueError, match="registrations must be an iterable of tokens"):
            p.Topics(account_client).subscribe("t", "a-token")
        topics = p.Topics(account_client)
        for value in (None, 7, b"x", [], object()):
            for call in (topics.list, topics.info):
                with pytest.raises(p.PushRejected, match="registration must be") as error:
                    await call(value)  # type: ignore[arg-type]  # what the types forbid
                assert error.value.result.verdict is p.Verdict.INVALID
