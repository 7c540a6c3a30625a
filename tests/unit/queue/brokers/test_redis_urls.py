"""Clients by the URL; nothing is connected to."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.access import Access
from pushcore.queue.brokers.redis_urls import client_of

pytest.importorskip("redis")


def settings_of(pool: Any) -> dict[str, Any]:
    return dict(pool.connection_kwargs)


async def test_one_server() -> None:
    client, others, shown = client_of("redis://user@h:7/3", Access(password="secret"), {})
    settings = settings_of(client.connection_pool)
    assert (settings["host"], settings["port"], settings["db"]) == ("h", 7, 3)
    assert (settings["username"], settings["password"]) == ("user", "secret")
    assert (others, shown) == ([], "h:7")
    await client.aclose()


async def test_sentinels_have_a_password_of_their_own() -> None:
    access = Access(password="secret", sentinel_password="other", ca_file="ca.pem")
    client, sentinels, shown = client_of("rediss+sentinel://user@h:1,[::1]/mine/2", access, {})
    master = settings_of(client.connection_pool)
    assert (master["username"], master["password"], master["db"]) == ("user", "secret", 2)
    assert master["ssl_ca_certs"] == "ca.pem"
    found = [settings_of(sentinel.connection_pool) for sentinel in sentinels]
    assert [(each["host"], each["port"]) for each in found] == [("h", 1), ("::1", 26379)]
    assert {each["password"] for each in found} == {"other"}
    assert {each.get("username") for each in found} == {None}
    assert shown == "mine (sentinels h:1, ::1:26379)"
    for each in (client, *sentinels):
        await each.aclose()


async def test_a_cluster() -> None:
    client, _, shown = client_of("redis+cluster://user:p%40ss@h:1,i", Access(), {})
    assert [(node.host, node.port) for node in client.nodes_manager.startup_nodes.values()] == [
        ("h", 1),
        ("i", 6379),
    ]
    assert client.connection_kwargs["password"] == "p@ss"
    assert shown == "h:1, i:6379"
    await client.aclose()


async def test_without_a_host_it_is_this_machine() -> None:
    for url, database in (("redis://", 0), ("redis:///2", 2)):
        client, _, shown = client_of(url, Access(), {})
        assert (settings_of(client.connection_pool).get("db", 0), shown) == (database, "localhost:6379")
        await client.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/name/x",
        "redis+cluster://h:1/3",
        "redis+cluster://,",
        "redis+cluster://h:1?db=1",
        "redis://h/abc",
        "redis://h/-1",
        "redis://h/1/2",
        "unix://",
        "rediss://h?ssl_ca_certs=/no/file.pem",
        "redis://h?ssl_ca_certs=/no/file.pem",
    ],
)
def test_a_wrong_url_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError):
        client_of(url, Access(), {})


async def test_a_socket_of_this_machine() -> None:
    client, others, shown = client_of("unix:///run/redis.sock", Access(), {})
    assert settings_of(client.connection_pool)["path"] == "/run/redis.sock"
    assert (others, shown) == ([], "/run/redis.sock")
    await client.aclose()


async def test_sentinels_without_passwords() -> None:
    client, sentinels, _ = client_of("redis+sentinel://h/mine", Access(), {"socket_timeout": 3.0})
    for one in (client, *sentinels):
        settings = settings_of(one.connection_pool)
        assert (settings.get("username"), settings.get("password")) == (None, None)
        assert "ssl_ca_certs" not in settings
        await one.aclose()
    assert settings_of(client.connection_pool)["socket_timeout"] == 3.0


async def test_a_cluster_over_tls_follows_its_slots_by_the_librarys_own_retries() -> None:
    client, _, _ = client_of("rediss+cluster://h:1", Access(password="secret"), {})
    assert (client.connection_kwargs["password"], client.connection_kwargs.get("username")) == (
        "secret",
        None,
    )
    assert client.connection_kwargs["connection_class"].__name__ == "SSLConnection"
    await client.aclose()
