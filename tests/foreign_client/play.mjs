// A conformance play: a table of foreign clients plays against a server and prints one line for each check.
//
//   node play.mjs URL GM_TOKEN PLAYER_TOKEN ENCODING [STATUS_COMMAND ...]
//
// ENCODING is json or msgpack. STATUS_COMMAND prints what `undying status --json` prints; without it nothing is killed and the
// checks that need a kill are left out. Exits with 0 when all checks held, with 1 when one did not or the play did not end.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Client } from "./client.mjs";

const [url, gmToken, playerToken, encoding, ...statusCommand] = process.argv.slice(2);
const PLAY_MS = 150000;
const LIVE_MS = 30000; // the longest that a killed process may be missed

const watchdog = setTimeout(() => {
  console.log(`FAIL the play ends within ${PLAY_MS} ms`);
  process.exit(1);
}, PLAY_MS);
let failed = 0;
const table = [];

/** Runs one check; it also fails when a client saw the server break the order of the protocol meanwhile. */
async function check(sentence, body) {
  try {
    await body();
    const broken = table.flatMap((client) => client.violations.splice(0).map((what) => `${client.label}: ${what}`));
    assert.deepEqual(broken, []);
    console.log(`ok   ${sentence}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${sentence}: ${error.message.replaceAll(/\s+/g, " ")}`);
  }
}

function seat(label, token) {
  const client = new Client({ url, token, encoding, label });
  table.push(client);
  return client;
}

async function invite(role, name) {
  const response = await fetch(`${url}/v1/sessions/${gm.welcome.session}/invites`, {
    method: "POST",
    headers: { authorization: `Bearer ${gmToken}`, "content-type": "application/json" },
    body: JSON.stringify({ role, name }),
  });
  assert.equal(response.status, 201);
  return (await response.json()).token;
}

/** Sends an op that must succeed and waits until all of `seers` are as far as its last event; answers the ack. */
async function done(client, stream, kind, args, { id, seers = [gm, ann] } = {}) {
  const ack = await client.op(stream, kind, args, { id });
  assert.equal(ack.ok, true, `${kind}: ${JSON.stringify(ack.error)}`);
  await Promise.all(seers.map((seer) => reaches(seer, stream, ack.pos)));
  return ack;
}

const reaches = (client, stream, pos) => client.until(() => {
  const at = client.positions[stream];
  return at && (at[0] > pos[0] || (at[0] === pos[0] && at[1] >= pos[1]));
}, `${stream} at ${pos}`);
const lastWelcome = (client) => client.frames.findLastIndex((f) => f.t === "welcome");
const sinceWelcome = (client, stream) => client.frames.slice(lastWelcome(client)).filter((f) => f.s === stream);
const isLive = (client, stream) =>
  client.until(() => sinceWelcome(client, stream).some((f) => f.t === "live"), `live ${stream}`);
const eventAt = (client, stream, [e, n]) => client.events.find((ev) => ev.s === stream && ev.e === e && ev.n === n);
const lines = (client, prefix) => client.events.filter((ev) => ev.d?.text?.startsWith(`${prefix} `)).map((ev) => ev.d.text);
const knows = (client, secret) => JSON.stringify([client.events, client.snapshots]).includes(secret);

/** Says `prefix 0`, `prefix 1`, … one after the other until told to stop; answers what was acknowledged. */
function talk(client, prefix) {
  const acked = [];
  let going = true;
  const ended = (async () => {
    for (let i = 0; going; i++) {
      const ack = await client.op(S, "chat.say", { text: `${prefix} ${i}` });
      assert.equal(ack.ok, true, JSON.stringify(ack.error));
      acked.push(`${prefix} ${i}`);
    }
  })();
  ended.catch(() => {}); // `stop` tells it
  return { acked, stop: async () => { going = false; await ended; return acked; } };
}

const enough = (client, talker, more) => {
  const goal = talker.acked.length + more;
  return client.until(() => talker.acked.length >= goal, `${more} more lines`, LIVE_MS);
};

/** All of `seers` saw each of `said` once and in order. */
async function sawOnce(seers, prefix, said) {
  for (const seer of seers) {
    await seer.until(() => lines(seer, prefix).length >= said.length, `${said.length} lines of ${prefix}`);
    assert.deepEqual(lines(seer, prefix), said, `${seer.label} and the lines of ${prefix}`);
  }
}

async function pidsOf(isIt) {
  const { stdout } = await promisify(execFile)(statusCommand[0], statusCommand.slice(1));
  const pids = JSON.parse(stdout).actors.filter(isIt).map((actor) => actor.pid);
  assert.notEqual(pids.length, 0, "the status names no such actor");
  return pids;
}

// ------------------------------------------------------------------------------------------------------------- the play

const gm = seat("gm", gmToken);
const ann = seat("ann", playerToken);
let bob = null, watcher = null, borin = "";

/** After the last welcome the stream came as `mode` says, up to live. */
async function cameAs(client, stream, mode) {
  await isLive(client, stream);
  assert.equal(client.frames[lastWelcome(client)].streams[stream].mode, mode);
  const types = sinceWelcome(client, stream).map((f) => f.t).filter((t) => ["snapshot", "ev", "live"].includes(t));
  const before = types.slice(0, types.indexOf("live"));
  if (mode === "replay") assert.ok(before.length > 0 && before.every((t) => t === "ev"), `before live came ${before}`);
  else assert.deepEqual(before, mode === "snapshot" ? ["snapshot"] : []);
}

const latestPresence = (client) => client.frames.findLast((f) => f.t === "presence" && f.s === S)?.users ?? [];
const online = (client) => latestPresence(client).filter((one) => one.state === "online").map((one) => one.name).sort();
const hearsOf = (client, names) => {
  const wanted = [...names].sort().join();
  return client.until(() => online(client).join() === wanted, `a presence of ${wanted}`)
    .catch((error) => { throw new Error(`${error.message}; the last one: ${online(client)}`); });
};

await gm.connect(); // nothing below makes sense without
const S = `session:${gm.welcome.session}`;

await check("hello tells version, heartbeat and limits, and comes before welcome", async () => {
  await ann.connect();
  for (const client of [gm, ann]) {
    assert.deepEqual(client.frames.slice(0, 2).map((f) => f.t), ["hello", "welcome"]);
    const [hello] = client.frames;
    assert.deepEqual([hello.v, hello.hb_ms, hello.join_ms], [1, 25000, 10000]);
    assert.ok(hello.conn && hello.node && hello.max_frame > 0 && Math.abs(Date.now() - hello.time) < 60000);
    assert.deepEqual(Object.keys(hello.rate).sort(), ["burst", "ops", "per_s"]);
  }
});

await check("welcome tells who one is, and a snapshot and live follow", async () => {
  for (const [client, role] of [[gm, "gm"], [ann, "player"]]) {
    await cameAs(client, S, "snapshot");
    assert.equal(client.welcome.role, role);
    assert.ok(client.welcome.user && client.welcome.name && client.welcome.resume_token && client.welcome.resume_ttl_s > 0);
  }
});

await check("invites over HTTP let a second player and a spectator in", async () => {
  bob = seat("bob", await invite("player", "Bob"));
  watcher = seat("watcher", await invite("spectator", "Wim"));
  for (const client of [bob, watcher]) {
    await client.connect();
    await isLive(client, S);
  }
  assert.deepEqual([bob.welcome.role, bob.welcome.name, watcher.welcome.role], ["player", "Bob", "spectator"]);
  await hearsOf(gm, table.map((client) => client.welcome.name));
});

await check("a chat line is acknowledged with the position of its event, and all see it", async () => {
  const ack = await done(ann, S, "chat.say", { text: "Hello, Grüße, 你好 🎲" }, { seers: table });
  for (const client of table) {
    const event = eventAt(client, S, ack.pos);
    assert.deepEqual([event.k, event.d.text, event.by], ["chat.said", "Hello, Grüße, 你好 🎲", ann.welcome.user]);
    assert.ok(Math.abs(Date.now() - event.at) < 60000);
  }
});

await check("dice are rolled by the server and all see the same", async () => {
  const ack = await done(ann, S, "dice.roll", { expr: "2d6+3", label: "to hit" }, { seers: table });
  const { d } = eventAt(gm, S, ack.pos);
  assert.deepEqual([d.expr, d.mode], ["2d6+3", "public"]);
  assert.ok(d.total >= 5 && d.total <= 15 && d.detail.length > 0, JSON.stringify(d));
  assert.deepEqual(eventAt(watcher, S, ack.pos).d, d);
});

await check("a blind roll is for the game master only, a roll to oneself for oneself", async () => {
  const blind = await done(ann, S, "dice.roll", { expr: "1d20", mode: "blind", label: "blindly" }, { seers: table });
  const self = await done(ann, S, "dice.roll", { expr: "1d20", mode: "self", label: "selfishly" }, { seers: table });
  const toGm = await done(ann, S, "dice.roll", { expr: "1d20", mode: "gm", label: "masterly" }, { seers: table });
  assert.equal(eventAt(gm, S, blind.pos).k, "dice.rolled");
  assert.equal(blind.d?.total, undefined, "the answer to a blind roll");
  assert.equal(eventAt(ann, S, blind.pos)?.d?.total, undefined, "what the roller sees of a blind roll");
  assert.equal(eventAt(ann, S, self.pos).d.total, self.d.total);
  assert.deepEqual([gm, ann].map((client) => eventAt(client, S, toGm.pos).k), ["dice.rolled", "dice.rolled"]);
  for (const label of ["blindly", "selfishly", "masterly"]) assert.ok(!knows(bob, label) && !knows(watcher, label), label);
});

await check("a whisper is for whom it names; others get a skip", async () => {
  const ack = await done(gm, S, "chat.say", { text: "psst-whisper", to: [ann.welcome.user] }, { seers: table });
  assert.equal(eventAt(ann, S, ack.pos).d.text, "psst-whisper");
  for (const client of [bob, watcher]) assert.ok(!knows(client, "psst-whisper"), client.label);
});

await check("notes are for those whom their visibility names", async () => {
  await done(gm, S, "note.put", { id: "open", title: "Inn", text: "open-note" }, { seers: table });
  await done(gm, S, "note.append", { id: "open", text: "more-of-it" }, { seers: table });
  await done(gm, S, "note.put", { id: "plot", text: "gm-note", visibility: "gm" }, { seers: table });
  await done(gm, S, "note.put", { id: "letter", text: "ann-note", visibility: [ann.welcome.user] }, { seers: table });
  await done(gm, S, "note.delete", { id: "open" }, { seers: table });
  const texts = ["open-note", "more-of-it", "gm-note", "ann-note"];
  assert.deepEqual(texts.map((text) => knows(bob, text)), [true, true, false, false]);
  assert.deepEqual(texts.map((text) => knows(ann, text)), [true, true, false, true]);
});

await check("tokens are put, moved and removed; a hidden one is the game master's", async () => {
  await done(gm, S, "map.set", { scene: "cellar" }, { seers: table });
  await done(gm, S, "token.put", { id: "orc", x: 1, y: 2 }, { seers: table });
  const moved = await done(gm, S, "token.move", { id: "orc", x: 3.5, y: -200 }, { seers: table });
  const { k, d } = eventAt(bob, S, moved.pos);
  assert.deepEqual([k, d.x, d.y], ["token.moved", 3.5, -200]);
  await done(gm, S, "token.remove", { id: "orc" }, { seers: table });
  await done(gm, S, "token.put", { id: "lurker", x: 9, y: 9, hidden: true }, { seers: table });
  await done(gm, S, "token.move", { id: "lurker", x: 8, y: 9 }, { seers: table });
  assert.deepEqual([gm, ann, watcher].map((client) => knows(client, "lurker")), [true, false, false]);
});

await check("initiative goes round", async () => {
  await done(gm, S, "combat.start", {});
  await done(gm, S, "initiative.set", { entries: [{ id: "a", name: "Ann", value: 7 }, { id: "o", name: "Orc", value: 15 }] });
  await done(gm, S, "initiative.add", { entry: { id: "g", name: "Ghoul", value: 9, hidden: true } }, { seers: table });
  assert.deepEqual([knows(gm, "Ghoul"), knows(ann, "Ghoul")], [true, false]);
  await done(gm, S, "initiative.remove", { id: "g" });
  const turns = [];
  for (const kind of ["initiative.next", "initiative.next", "initiative.prev"]) {
    const { k, d } = eventAt(ann, S, (await done(gm, S, kind, {})).pos);
    assert.equal(k, "turn.changed");
    turns.push([d.round, d.entry.id]);
  }
  assert.deepEqual(turns, [[1, "a"], [2, "o"], [1, "a"]]);
  await done(gm, S, "combat.end", {});
});

await check("a character that comes to be starts with snapshot and live, unasked", async () => {
  const sheet = { name: "Borin", hp: { current: 10, max: 12, temp: 0 }, abilities: { str: 16 } };
  const ack = await done(ann, S, "character.create", { sheet }, { seers: table });
  borin = `character:${ack.d.character}`;
  for (const client of [gm, ann]) {
    await isLive(client, borin);
    const types = client.frames.filter((f) => f.s === borin && f.t !== "presence").map((f) => f.t);
    assert.deepEqual(types.slice(0, 2), ["snapshot", "live"]);
    assert.equal(client.snapshots[borin].state.sheet.name, "Borin");
  }
  assert.ok(gm.events.some((ev) => ev.s === S && ev.k === "character.created"));
});

await check("a character takes hit points, experience, things, conditions, notes and fields", async () => {
  const ops = [
    ["hp.change", { delta: -4, reason: "orc" }, "hp.changed"],
    ["hp.set", { value: 9, temp: 3 }, "hp.changed"],
    ["xp.award", { amount: 300 }, "xp.changed"],
    ["item.add", { name: "rope", qty: 2 }, "inventory.changed"],
    ["item.remove", { name: "rope", qty: 1 }, "inventory.changed"],
    ["condition.add", { name: "prone", rounds: 1 }, "conditions.changed"],
    ["condition.remove", { name: "prone" }, "conditions.changed"],
    ["note.append", { text: "met an orc" }, "notes.changed"],
    ["sheet.set", { path: "attributes.eyes", value: "grey" }, "sheet.changed"],
  ];
  for (const [kind, args, event] of ops) {
    const ack = await done(kind === "xp.award" ? gm : ann, borin, kind, args);
    assert.deepEqual([ack.s, eventAt(gm, borin, ack.pos).k, eventAt(ann, borin, ack.pos).k], [borin, event, event]);
  }
  const [hurt] = gm.events.filter((ev) => ev.s === borin && ev.k === "hp.changed");
  assert.deepEqual([hurt.d.hp, hurt.d.max, hurt.d.delta], [6, 12, -4]);
});

await check("what one may not do is refused and changes nothing", async () => {
  const before = gm.positions[S];
  const acks = [
    await watcher.op(S, "chat.say", { text: "boo" }),
    await ann.op(S, "combat.start", {}),
    await bob.op(borin, "hp.change", { delta: -9 }),
  ];
  for (const ack of acks) assert.ok(ack.ok === false && ack.error.recoverable === false, JSON.stringify(ack));
  assert.deepEqual(gm.positions[S], before);
});

await check("a bad op and bad args are answered, name the field, and the connection stays", async () => {
  const before = gm.positions[S];
  const answers = [
    await gm.op(S, "no.such", {}),
    await gm.op(S, "chat.say", {}),
    await gm.op(S, "token.move", { id: "lurker", x: "left", y: 1 }),
  ];
  assert.deepEqual(answers.map((ack) => ack.ok), [false, false, false]);
  assert.deepEqual(answers.map((ack) => ack.error.code), ["BAD_OP", "BAD_ARGS", "BAD_ARGS"]);
  assert.deepEqual(answers.slice(1).map((ack) => ack.error.context.path), ["text", "x"]);
  assert.deepEqual(gm.positions[S], before);
  assert.deepEqual(gm.closes, []);
});

await check("an op with an id that had its answer is answered as dup and happens once", async () => {
  const first = await done(ann, S, "chat.say", { text: "only once" }, { id: "retry-me" });
  const again = await done(ann, S, "chat.say", { text: "only once" }, { id: "retry-me" });
  assert.deepEqual([first.dup ?? false, again.dup, again.pos], [false, true, first.pos]);
  assert.deepEqual(lines(gm, "only"), ["only once"]);
});

await check("a heartbeat is answered", async () => {
  ann.send({ t: "hb", pos: ann.positions, time: Date.now() });
  const answer = await ann.until(() => ann.frames.find((f) => f.t === "hb_ok"), "hb_ok");
  assert.ok(Math.abs(Date.now() - answer.time) < 60000);
});

const late = seat("late", await invite("player", "Lou"));

await check("a newcomer's snapshot holds no secrets, and is as far as the others", async () => {
  await late.connect();
  await cameAs(late, S, "snapshot");
  await reaches(bob, S, late.positions[S]);
  for (const secret of ["psst-whisper", "gm-note", "ann-note", "lurker", "blindly", "selfishly", "masterly"]) {
    assert.ok(!knows(late, secret), secret);
  }
  assert.ok(knows(late, "only once"));
});

await check("a client that is behind without knowing it is sent what it lacks after a heartbeat", async () => {
  const { pos } = await done(gm, S, "chat.say", { text: "again, please" }, { seers: [late] });
  // Without an earlier heartbeat the server can't tell a loss from what is still on its way.
  late.send({ t: "hb", pos: late.positions, time: Date.now() });
  await late.until(() => late.frames.find((f) => f.t === "hb_ok"), "hb_ok");
  late.positions[S] = [pos[0], pos[1] - 2];
  late.send({ t: "hb", pos: late.positions, time: Date.now() });
  await reaches(late, S, pos);
});

await check("who leaves is let go with a close, and the others hear of it", async () => {
  late.send({ t: "leave" });
  await late.until(() => !late.joined, "the close after leave");
  table.splice(table.indexOf(late), 1);
  assert.equal(late.closes.at(-1).code, 1000);
  await hearsOf(gm, table.map((client) => client.welcome.name));
});

await check("a dropped connection resumes with nothing to catch up", async () => {
  await reaches(ann, S, gm.positions[S]);
  await reaches(ann, borin, gm.positions[borin]);
  ann.drop();
  await ann.reconnect();
  for (const stream of [S, borin]) await cameAs(ann, stream, "live");
});

await check("a dropped connection resumes by position: nothing missed, nothing repeated", async () => {
  ann.drop();
  const said = [];
  for (let i = 0; i < 20; i++) {
    await done(gm, S, "chat.say", { text: `away ${i}` }, { seers: [gm, bob] });
    said.push(`away ${i}`);
  }
  await done(gm, borin, "hp.change", { delta: 1 }, { seers: [gm] });
  await ann.reconnect();
  await sawOnce([ann, gm, bob], "away", said);
  for (const stream of [S, borin]) await cameAs(ann, stream, "replay");
  await reaches(ann, borin, gm.positions[borin]);
});

await check("it does so while another client plays on, many times", async () => {
  const talker = talk(gm, "on");
  for (let i = 0; i < 5; i++) {
    await enough(gm, talker, 5);
    ann.drop();
    await enough(gm, talker, 3 * i);
    await ann.reconnect();
  }
  await sawOnce([gm, ann, bob], "on", await talker.stop());
});

await check("an op whose answer was lost with the connection is sent again and happens once", async () => {
  const said = [];
  for (let i = 0; i < 5; i++) {
    const answer = ann.op(S, "chat.say", { text: `lost ${i}` });
    if (i % 2) await gm.until(() => lines(gm, "lost").length > i, `lost ${i}`);
    ann.drop();
    await ann.reconnect();
    assert.equal((await answer).ok, true);
    said.push(`lost ${i}`);
  }
  await sawOnce([gm, ann], "lost", said);
});

if (statusCommand.length > 0) {
  await check("a killed session comes back: sockets stay open, ops go on, claimed tells the position before", async () => {
    const closes = table.map((client) => client.closes.length);
    const talkers = [talk(gm, "gm-kill"), talk(ann, "ann-kill")];
    for (let round = 0; round < 2; round++) {
      await enough(gm, talkers[0], 10);
      const [epoch] = gm.positions[S];
      const [pid] = await pidsOf((actor) => actor.id === S);
      process.kill(pid, "SIGKILL");
      for (const client of table) {
        const nextEpoch = () => client.events.find((ev) => ev.s === S && ev.e > epoch);
        const claimed = await client.until(nextEpoch, "the next epoch", LIVE_MS);
        assert.deepEqual([claimed.n, claimed.k], [0, "claimed"]); // `prev` was held against the position as it came
      }
      await enough(gm, talkers[0], 10);
    }
    await sawOnce(table, "gm-kill", await talkers[0].stop());
    await sawOnce(table, "ann-kill", await talkers[1].stop());
    assert.deepEqual(table.map((client) => client.closes.length), closes, "connections that closed");
  });

  await check("a killed character comes back with its points", async () => {
    const before = (await done(ann, borin, "hp.change", { delta: 0 })).pos;
    const [pid] = await pidsOf((actor) => actor.id === borin);
    process.kill(pid, "SIGKILL");
    const ack = await done(ann, borin, "hp.change", { delta: 1 });
    assert.ok(ack.pos[0] > before[0], `${ack.pos} after ${before}`);
    const [was, is] = [before, ack.pos].map((pos) => eventAt(gm, borin, pos).d.hp);
    assert.equal(is, was + 1);
  });

  await check("after the gateway is killed the clients come back: nothing missed, nothing repeated", async () => {
    const talkers = [talk(gm, "gm-gate"), talk(ann, "ann-gate")];
    await enough(gm, talkers[0], 10);
    for (const pid of await pidsOf((actor) => actor.kind === "gateway")) process.kill(pid, "SIGKILL");
    await Promise.all(table.map(async (client) => {
      await client.until(() => !client.joined, "the lost connection");
      await client.reconnect(LIVE_MS);
    }));
    await enough(gm, talkers[0], 10);
    await sawOnce(table, "gm-gate", await talkers[0].stop());
    await sawOnce(table, "ann-gate", await talkers[1].stop());
  });

  await check("after the gateway was killed presence names everybody once", async () => {
    await hearsOf(gm, table.map((client) => client.welcome.name));
  });
}

clearTimeout(watchdog);
for (const client of table) client.drop();
console.log(failed ? `${failed} checks failed` : "all checks held");
process.exitCode = failed ? 1 : 0;
