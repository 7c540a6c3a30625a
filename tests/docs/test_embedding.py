"""The examples in docs/embedding.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fakeservers import FakeApns, fated_token
from pushcore import Verdict

BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(), re.DOTALL
)


async def test_the_web_service_sends_and_the_engine_is_watched() -> None:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    async with FakeApns() as fake:
        # The ids in the example are the reader's; the fake has its own.
        fake.world.add_key("ABC123DEFG", "TEAM123456", Path(fake.key_file).read_bytes())
        fake.world.allow("TEAM123456", "com.example.app")
        async with names["lifespan"](fake.key_file, url=fake.url, ca_file=fake.ca_file) as apns:
            assert (await names["notify"](apns, "ab" * 32)).ok
            assert (await names["notify"](apns, fated_token("Unregistered"))).drop_token
            engine = names["watched"](apns)
            async with engine:
                push = names["Notification"]("ab" * 32, {"aps": {}})
                results = [result async for result in engine.send_many([push])]
        assert [result.verdict for result in results] == [Verdict.ACCEPTED]
