// A small chat in the terminal, and the shape of every client: compiled by the tests with `tsc --strict`.
//   npm install inboxd-client ws && node chat.mjs alice bob
import { stdin } from "node:process";
import { createInterface } from "node:readline";
import { InboxClient, type Message, SendError } from "inboxd-client";
import { FileStorage } from "inboxd-client/node";
import WebSocket from "ws";

const [me = "alice", peer = "bob"] = process.argv.slice(2);
const client = new InboxClient({
  url: "http://127.0.0.1:8000",
  user: me,
  device: "terminal",
  storage: new FileStorage(`./inboxd-${me}`), // outbox and cursor outlive this process
  WebSocket,
});

// The ack waits for this: when it returns, the message must be where the application keeps messages.
client.on("message", async (message: Message) => {
  console.log(`${message.from}: ${message.body.text}`);
});
client.on("gap", ({ missing, reason }) => console.log(`(${missing ?? "some"} messages will not come: ${reason})`));
client.on("state", ({ state, retryAt }) => console.log(`(${state}${retryAt ? ` until ${new Date(retryAt).toLocaleTimeString()}` : ""})`));
client.on("stale", async ({ id }) => client.retry(id)); // may arrive twice: ask somebody, or keep it
client.on("error", ({ code, message }) => console.error(code, message));

await client.connect();
for await (const text of createInterface({ input: stdin })) {
  client.send(peer, { text }).then(
    ({ ts }) => console.log(`(accepted at ${new Date(ts).toLocaleTimeString()})`),
    (error: SendError) => console.log(`(not sent, ${error.code}; it stays in the outbox)`),
  );
}
await client.close();
