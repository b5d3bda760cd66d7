export type { Clock } from "./clock.mjs";
export { InboxClient } from "./client.mjs";
export { InboxError, SendError } from "./errors.mjs";
export type { Channel, Locks, Network, Options, Socket } from "./options.mjs";
export type { Change, Mark, Meta, Saved, Storage } from "./storage/storage.mjs";
export type * from "./types.mjs";
