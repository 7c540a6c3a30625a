"""`@parse/node-apn`, which knows APNs' channels and broadcasts, against the fake."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fakeservers import ApnsRegistry, FakeApns

PLACE = Path(__file__).parents[2] / ".bench" / "rivals" / "node_apn"
DEADLINE = 30.0

SCRIPT = """
const fs = require('node:fs');
const apn = require('@parse/node-apn');
const conf = JSON.parse(fs.readFileSync(0));
const provider = new apn.Provider({
  token: {key: conf.key_file, keyId: conf.key_id, teamId: conf.team_id},
  address: 'localhost', port: conf.port,
  manageChannelsAddress: 'localhost', manageChannelsPort: conf.channels_port,
  ca: [fs.readFileSync(conf.ca_file)], production: false,
});
function note(payload, more) {
  return Object.assign(new apn.Notification(), {rawPayload: payload}, more);
}
async function run() {
  const said = [];
  async function manage(action, channelId, payload) {
    const {sent, failed} = await provider.manageChannels(note(payload ?? {}, {channelId}), conf.topic, action);
    said.push([action, sent[0] ?? null, failed[0] ?? null]);
    return sent[0];
  }
  const made = await manage('create', undefined, {'message-storage-policy': 1, 'push-type': 'LiveActivity'});
  const id = made['apns-channel-id'];
  await manage('read', id);
  await manage('readAll');
  const update = {aps: {event: 'update', timestamp: 1700000000, 'content-state': {goals: 1}}};
  const more = {channelId: id, pushType: 'liveactivity', expiry: 0, priority: 10};
  const {sent, failed} = await provider.broadcast(note(update, more), conf.topic);
  said.push(['broadcast', sent[0] ?? null, failed[0] ?? null]);
  const device = await provider.send(note({aps: {alert: 'Hi'}}, {topic: conf.topic, pushType: 'alert'}), 'ab'.repeat(32));
  said.push(['device', device.sent[0] ?? null, device.failed[0] ?? null]);
  await manage('delete', id);
  await manage('read', id);
  await provider.shutdown();
  console.log(JSON.stringify(said));
}
run();
"""


@pytest.mark.needs("node")
@pytest.mark.skipif(
    not (PLACE / "node_modules" / "@parse" / "node-apn").is_dir(),
    reason="needs @parse/node-apn, which .ci/run and `python -m bench rivals` install",
)
async def test_channels_and_broadcasts_by_node_apn() -> None:
    async with FakeApns(host="localhost", registry=ApnsRegistry(environment="sandbox")) as fake:
        told = {
            "key_file": fake.key_file,
            "key_id": fake.key_id,
            "team_id": fake.team_id,
            "topic": fake.topic,
            "ca_file": fake.ca_file,
            "port": int(fake.url.rpartition(":")[2]),
            "channels_port": int(fake.channels_url.rpartition(":")[2]),
        }
        process = await asyncio.create_subprocess_exec(
            *("node", "-e", SCRIPT),
            cwd=PLACE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(DEADLINE):
            out, errors = await process.communicate(json.dumps(told).encode())
        assert process.returncode == 0, errors
        said: dict[str, Any] = {}
        for action, sent, failed in json.loads(out):
            said.setdefault(action, []).append((sent, failed))
        [(made, nothing)] = said["create"]
        assert nothing is None
        channel_id = made["apns-channel-id"]
        (read, gone) = said["read"]
        assert (read[0]["message-storage-policy"], read[0]["push-type"]) == (1, "LiveActivity")
        assert said["readAll"][0][0]["channels"] == [channel_id]
        assert said["broadcast"][0][0]["apns-request-id"]
        assert said["device"][0][0]["apns-unique-id"]
        assert said["delete"][0][1] is None
        assert gone[0] is None
        assert (gone[1]["status"], gone[1]["response"]["reason"]) == (400, "ChannelNotRegistered")
        assert fake.counts == {(201, ""): 1, (200, ""): 4, (204, ""): 1, (400, "ChannelNotRegistered"): 1}
