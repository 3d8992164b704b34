// A client of the wire protocol, version 1, written from the protocol document alone: Node's standard library, no packages.
//
// Three parts, bottom up: MessagePack, a WebSocket over a bare TCP socket (so that a test may drop it without a close), and
// `Client`, which keeps a position for each stream, checks every event against it, and sends again what was not answered.
// What the server does against the document lands in `client.violations`; a correct server leaves that list empty.

import { createHash, randomBytes, randomUUID } from "node:crypto";
import { connect as connectTcp } from "node:net";

// ---------------------------------------------------------------------------------------------------------- MessagePack

/** Encodes null, booleans, numbers, strings, arrays and plain objects; keys whose value is undefined are left out. */
export function pack(value) {
  const parts = [];
  packInto(parts, value);
  return Buffer.concat(parts);
}

function packInto(parts, value) {
  if (value === null) parts.push(Buffer.of(0xc0));
  else if (typeof value === "boolean") parts.push(Buffer.of(value ? 0xc3 : 0xc2));
  else if (typeof value === "number") parts.push(packNumber(value));
  else if (typeof value === "string") {
    const bytes = Buffer.from(value);
    parts.push(packHead(bytes.length, [0xa0, 32], 0xd9, 0xda, 0xdb), bytes);
  } else if (Array.isArray(value)) {
    parts.push(packHead(value.length, [0x90, 16], null, 0xdc, 0xdd));
    for (const item of value) packInto(parts, item);
  } else {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    parts.push(packHead(entries.length, [0x80, 16], null, 0xde, 0xdf));
    for (const [key, item] of entries) {
      packInto(parts, key);
      packInto(parts, item);
    }
  }
}

function packHead(length, [fix, below], tag8, tag16, tag32) {
  if (length < below) return Buffer.of(fix | length);
  if (tag8 !== null && length < 0x100) return Buffer.of(tag8, length);
  const head = Buffer.alloc(length < 0x10000 ? 3 : 5);
  head[0] = length < 0x10000 ? tag16 : tag32;
  head.writeUIntBE(length, 1, head.length - 1);
  return head;
}

function packNumber(value) {
  if (Number.isInteger(value) && value >= -32 && value < 128) return Buffer.of(value & 0xff);
  const bytes = Buffer.alloc(9);
  if (Number.isSafeInteger(value)) {
    bytes[0] = 0xd3;
    bytes.writeBigInt64BE(BigInt(value), 1);
  } else {
    bytes[0] = 0xcb;
    bytes.writeDoubleBE(value, 1);
  }
  return bytes;
}

/** Decodes one MessagePack value and throws when bytes are missing, left over or of a type that the protocol has no use for. */
export function unpack(buffer) {
  const reader = { buffer, at: 0 };
  const value = unpackFrom(reader);
  if (reader.at !== buffer.length) throw new Error(`${buffer.length - reader.at} bytes after the value`);
  return value;
}

function unpackFrom(r) {
  const tag = r.buffer.readUInt8(r.at++);
  if (tag < 0x80) return tag;
  if (tag < 0x90) return unpackMap(r, tag & 0x0f);
  if (tag < 0xa0) return unpackArray(r, tag & 0x0f);
  if (tag < 0xc0) return take(r, tag & 0x1f).toString();
  if (tag >= 0xe0) return tag - 0x100;
  switch (tag) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: case 0xc5: case 0xc6: return take(r, unsigned(r, 1 << (tag - 0xc4)));
    case 0xca: return take(r, 4).readFloatBE();
    case 0xcb: return take(r, 8).readDoubleBE();
    case 0xcc: case 0xcd: case 0xce: return unsigned(r, 1 << (tag - 0xcc));
    case 0xcf: return Number(take(r, 8).readBigUInt64BE());
    case 0xd0: return take(r, 1).readInt8();
    case 0xd1: return take(r, 2).readInt16BE();
    case 0xd2: return take(r, 4).readInt32BE();
    case 0xd3: return Number(take(r, 8).readBigInt64BE());
    case 0xd9: case 0xda: case 0xdb: return take(r, unsigned(r, 1 << (tag - 0xd9))).toString();
    case 0xdc: case 0xdd: return unpackArray(r, unsigned(r, 2 << (tag - 0xdc)));
    case 0xde: case 0xdf: return unpackMap(r, unsigned(r, 2 << (tag - 0xde)));
    default: throw new Error(`MessagePack type 0x${tag.toString(16)}`);
  }
}

function take(r, length) {
  if (r.at + length > r.buffer.length) throw new Error("the value is cut off");
  r.at += length;
  return r.buffer.subarray(r.at - length, r.at);
}

const unsigned = (r, width) => take(r, width).readUIntBE(0, width);
const unpackArray = (r, length) => Array.from({ length }, () => unpackFrom(r));
const unpackMap = (r, length) => Object.fromEntries(Array.from({ length }, () => [unpackFrom(r), unpackFrom(r)]));

// ------------------------------------------------------------------------------------------------------------ WebSocket

const CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** One WebSocket connection; `onMessage(buffer, isText)` and, once, `onClose(code, reason)` (1006 without a close frame). */
export class WebSocket {
  constructor(url, subprotocol, { onMessage, onClose }) {
    this.subprotocol = subprotocol;
    this.handlers = { onMessage, onClose };
    this.received = Buffer.alloc(0);
    this.message = { opcode: 0, parts: [] };
    this.closed = false;
    this.closing = [1006, ""];
    this.socket = connectTcp(Number(url.port || 80), url.hostname, () => this.#handshake(url));
    this.socket.setNoDelay(true);
    this.opened = new Promise((resolve, reject) => { this.opening = { resolve, reject }; });
    this.opened.catch(() => {}); // whoever waits for `opened` hears of it; nobody has to
    this.socket.on("data", (chunk) => this.#data(chunk));
    this.socket.on("error", (error) => this.#end(error));
    this.socket.on("close", () => this.#end(new Error("the connection closed")));
  }

  send(data, isText) { this.#frame(isText ? TEXT : BINARY, data); }

  /** The closing handshake; the server closes the socket. */
  close(code = 1000) { this.#frame(CLOSE, Buffer.of(code >> 8, code & 0xff)); }

  /** Drops the TCP connection with no word to the server. */
  drop() { this.socket.destroy(); this.#end(new Error("dropped")); }

  #handshake(url) {
    this.key = randomBytes(16).toString("base64");
    this.socket.write([
      `GET ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`, "Upgrade: websocket", "Connection: Upgrade",
      `Sec-WebSocket-Key: ${this.key}`, "Sec-WebSocket-Version: 13", `Sec-WebSocket-Protocol: ${this.subprotocol}`, "", "",
    ].join("\r\n"));
  }

  #data(chunk) {
    this.received = Buffer.concat([this.received, chunk]);
    if (this.opening && !this.#readHandshake()) return;
    while (!this.closed && this.#readFrame());
  }

  #readHandshake() {
    const end = this.received.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const [status, ...lines] = this.received.subarray(0, end).toString().split("\r\n");
    const headers = new Map(lines.map((line) => [line.split(":")[0].toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
    const accept = createHash("sha1").update(this.key + ACCEPT_GUID).digest("base64");
    const agreed = status.startsWith("HTTP/1.1 101") && headers.get("sec-websocket-accept") === accept
      && headers.get("sec-websocket-protocol") === this.subprotocol;
    if (!agreed) {
      this.#end(new Error(`handshake refused: ${this.received}`));
      return false;
    }
    this.received = this.received.subarray(end + 4);
    this.opening.resolve();
    this.opening = null;
    return true;
  }

  #readFrame() {
    const bytes = this.received;
    if (bytes.length < 2) return false;
    let length = bytes[1] & 0x7f, start = 2;
    if (length >= 126) {
      start = length === 126 ? 4 : 10;
      if (bytes.length < start) return false;
      length = start === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    }
    if (bytes.length < start + length) return false;
    this.received = bytes.subarray(start + length);
    this.#take(bytes[0] & 0x0f, (bytes[0] & 0x80) !== 0, bytes.subarray(start, start + length));
    return true;
  }

  #take(opcode, final, payload) {
    if (opcode === PING) return this.#frame(PONG, payload);
    if (opcode === PONG) return undefined;
    if (opcode === CLOSE) {
      if (payload.length >= 2) this.closing = [payload.readUInt16BE(0), payload.subarray(2).toString()];
      this.#frame(CLOSE, payload.subarray(0, 2));
      this.socket.end();
      return undefined;
    }
    if (opcode !== CONTINUATION) this.message = { opcode, parts: [] };
    this.message.parts.push(payload);
    if (final) this.handlers.onMessage(Buffer.concat(this.message.parts), this.message.opcode === TEXT);
    return undefined;
  }

  #frame(opcode, payload) {
    if (this.closed || !this.socket.writable) return;
    const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 0x10000 ? 4 : 10);
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | (head.length === 2 ? payload.length : head.length === 4 ? 126 : 127);
    if (head.length === 4) head.writeUInt16BE(payload.length, 2);
    if (head.length === 10) head.writeBigUInt64BE(BigInt(payload.length), 2);
    const mask = randomBytes(4);
    this.socket.write(Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i & 3])]));
  }

  #end(error) {
    if (this.closed) return;
    this.closed = true;
    this.opening?.reject(error);
    this.handlers.onClose(...this.closing);
  }
}

// --------------------------------------------------------------------------------------------------------------- Client

const MAX_RETRY_MS = 2000;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const samePosition = (a, b) => a[0] === b[0] && a[1] === b[1];

/** What a close code asks of a client: "stop", "backoff", "now" or "snapshot". */
export function afterClose(code) {
  if (code >= 4000 && code < 4100) return "stop";
  if (code >= 4200 && code < 4300) return "now";
  if (code >= 4300 && code < 4400) return "snapshot";
  return "backoff";
}

/**
 * One person at the table. `positions` {stream: [epoch, seq]}, `snapshots` {stream: frame}, `events` (flat, with `s` and `e`),
 * `frames` (all received, in order), `violations` (sentences), `closes` (codes) grow over all connections of the client.
 */
export class Client {
  constructor({ url, token, encoding, label = "client" }) {
    this.url = new URL("/v1/connect", url);
    Object.assign(this, { token, encoding, label, resumeToken: null, welcome: null, socket: null });
    Object.assign(this, { positions: {}, snapshots: {}, events: [], frames: [], violations: [], closes: [] });
    this.pending = new Map(); // op id -> {frame, resolve}: sent and not answered
    this.watchers = new Set();
  }

  get joined() { return this.welcome !== null; }

  /** Connects once: hello, join, welcome. Resumes when it was here before; then sends again every op that has no answer. */
  async connect() {
    const first = this.frames.length;
    const socket = new WebSocket(this.url, `undying.v1.${this.encoding}`, {
      onMessage: (data, isText) => this.#message(data, isText),
      onClose: (code, reason) => this.#closed(socket, code, reason),
    });
    this.socket = socket;
    await socket.opened;
    const frame = (t) => this.until(() => {
      if (socket.closed) throw new Error(`${this.label}: closed with ${this.closes.at(-1)} before ${t}`);
      return this.frames.slice(first).find((f) => f.t === t);
    }, `the ${t} frame`);
    await frame("hello");
    const resume = this.resumeToken ? { ...this.positions } : undefined;
    this.send({ t: "join", token: this.resumeToken ?? this.token, resume, client: { name: "foreign", version: "1.0" } });
    this.welcome = await frame("welcome");
    for (const { frame: op } of this.pending.values()) this.send(op);
    return this.welcome;
  }

  /** Connects until it is joined, as the close codes ask: gives up where told to stop, backs off with jitter otherwise. */
  async reconnect(withinMs = 30000) {
    const deadline = Date.now() + withinMs;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.connect();
      } catch (error) {
        const next = afterClose(this.closes.at(-1)?.code ?? 1006);
        if (next === "stop" || Date.now() > deadline) throw error;
        if (next === "snapshot") this.#forget();
        if (next === "backoff") await pause(Math.random() * Math.min(MAX_RETRY_MS, 100 * 2 ** attempt));
      }
    }
  }

  /** Sends an op and waits for its answer, over as many connections as that takes; retries what is recoverable. */
  async op(stream, kind, args = {}, { id = randomUUID(), ...more } = {}) {
    const frame = { t: "op", id, s: stream, k: kind, d: args, ...more };
    for (;;) {
      const ack = await new Promise((resolve) => {
        this.pending.set(id, { frame, resolve });
        if (this.joined) this.send(frame);
      });
      const retry = ack.ok ? null : ack.error.retry;
      if (!retry || !ack.error.recoverable || retry.strategy === "none") return ack;
      await pause(retry.after_ms ?? 100);
    }
  }

  send(frame) {
    const isText = this.encoding === "json";
    this.socket.send(isText ? Buffer.from(JSON.stringify(frame)) : pack(frame), isText);
  }

  drop() { this.socket.drop(); }

  /** Waits until `condition()` is truthy and returns that; it is looked at again after each frame and each close. */
  until(condition, what, withinMs = 20000) {
    return new Promise((resolve, reject) => {
      const settle = (done, value) => { clearTimeout(timer); this.watchers.delete(look); done(value); };
      const look = () => {
        try {
          const value = condition();
          if (value) settle(resolve, value);
        } catch (error) {
          settle(reject, error);
        }
      };
      const timer = setTimeout(() => settle(reject, new Error(`${this.label}: waited ${withinMs} ms for ${what}`)), withinMs);
      this.watchers.add(look);
      look();
    });
  }

  #forget() { Object.assign(this, { positions: {}, snapshots: {}, resumeToken: null }); }

  #closed(socket, code, reason) {
    this.closes.push({ code, reason });
    if (socket === this.socket) this.welcome = null;
    for (const look of [...this.watchers]) look();
  }

  #message(data, isText) {
    const kind = isText ? "text" : "binary";
    if (isText !== (this.encoding === "json")) this.violations.push(`a ${kind} frame in ${this.encoding}`);
    const frame = isText ? JSON.parse(data.toString()) : unpack(data);
    this.frames.push(frame);
    if (frame.t === "welcome") this.resumeToken = frame.resume_token;
    else if (frame.t === "snapshot") this.#snapshot(frame);
    else if (frame.t === "ev") for (const event of frame.b) this.#event(frame.s, frame.e, event);
    else if (frame.t === "live") this.#live(frame);
    else if (frame.t === "gone") delete this.positions[frame.s];
    else if (frame.t === "ack") this.#ack(frame);
    for (const look of [...this.watchers]) look();
  }

  #snapshot(frame) {
    this.positions[frame.s] = frame.pos;
    this.snapshots[frame.s] = frame;
  }

  #event(s, e, event) {
    const at = this.positions[s];
    const here = `${s} [${e}, ${event.n}]`;
    if (!at) {
      this.violations.push(`${here} of a stream that has no snapshot`);
    } else if (e !== at[0]) {
      if (event.n !== 0 || event.k !== "claimed") this.violations.push(`${here} opens an epoch without "claimed"`);
      else if (!samePosition(event.d.prev, at)) this.violations.push(`${here}: prev ${event.d.prev}, the client is at ${at}`);
    } else if (event.n !== at[1] + 1) {
      this.violations.push(`${here} ${event.n <= at[1] ? "again" : "after a gap"}: the client is at ${at}`);
    }
    this.positions[s] = [e, event.n + (event.skip ?? 1) - 1];
    this.events.push({ s, e, ...event });
  }

  #live(frame) {
    const at = this.positions[frame.s];
    if (!at || !samePosition(frame.pos, at)) this.violations.push(`live at ${frame.pos} of ${frame.s}, the client is at ${at}`);
  }

  #ack(frame) {
    const op = this.pending.get(frame.id);
    if (!op) return; // the answer to a retry whose first answer came after all
    this.pending.delete(frame.id);
    op.resolve(frame);
  }
}
