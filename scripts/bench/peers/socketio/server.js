// One Socket.IO node: PORT, REDIS_URL, SECRET (of the users' tokens), KEEP (entries of the adapter's stream).
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const { PORT, REDIS_URL, SECRET, KEEP } = process.env;
const AWAY = 600_000; // ms: how long a session is kept
const EVENT = 2; // PacketType.EVENT of socket.io-parser

// ioredis costs about a tenth less CPU per message here than node-redis, the other client that the adapter takes; what
// one turn of the loop sends goes out together, so that one fsync is for more of it.
const redis = new Redis(REDIS_URL, {
  connectionName: `node-${process.pid}`, // tells the benchmark whose reader waits for the stream: readers inherit it
  enableAutoPipelining: true,
});
redis.on("error", (error) => console.error(error.message));

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  adapter: createAdapter(redis, { maxLen: Number(KEEP), readCount: 500, onlyPlaintext: true }),
  connectionStateRecovery: { maxDisconnectionDuration: AWAY, skipMiddlewares: false },
});
const adapter = io.of("/").adapter;

function isToken(user, token) {
  const expected = createHmac("sha256", SECRET).update(String(user)).digest();
  const given = Buffer.from(String(token), "hex");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

// What `io.to(room).emit(event, ...)` does, but awaited: true once the adapter has its stream entry. The adapter
// swallows the error of a failed XADD; then the packet lacks the offset of the entry.
async function stored(room, data) {
  const packet = { type: EVENT, data, nsp: "/" };
  const length = data.length;
  await adapter.broadcast(packet, { rooms: new Set([room]), except: new Set(), flags: {} });
  return packet.data.length > length;
}

io.use((socket, next) => {
  const { user, token } = socket.handshake.auth;
  if (!isToken(user, token)) return next(new Error("not authorized"));
  socket.data.user = user;
  next();
});

io.on("connection", (socket) => {
  socket.join(`user:${socket.data.user}`);
  socket.on("send", async (to, id, text, answer) => {
    if (await stored(`user:${to}`, ["message", id, text])) answer();
  });
  // A client without an offset cannot recover: this event gives it one.
  if (!socket.recovered) stored(socket.id, ["welcome"]);
});

http.listen(Number(PORT), "127.0.0.1");
