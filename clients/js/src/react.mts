/** `inboxd-client/react`: small hooks. They keep no messages: an app that shows them stores them in a handler. */
import { useCallback, useEffect, useRef, useSyncExternalStore } from "react";
import type { InboxClient } from "./client.mjs";
import type { Events, Failure, OutboxItem, State } from "./types.mjs";

export interface Inbox {
  state: State;
  /** While `reconnecting`: when the next try is made, as of `Date.now()`. */
  retryAt?: number;
  /** While `failed`: why. */
  failure?: Failure;
  /** Whether the connection is this tab's. */
  leader: boolean;
}

/** What the client is doing; rendered anew when it changes. */
export function useInbox(client: InboxClient): Inbox {
  const last = useRef<{ client: InboxClient; text: string; inbox: Inbox }>(undefined);
  const subscribe = useCallback((changed: () => void) => listen(client, INBOX, changed), [client]);
  const snapshot = (): Inbox => {
    const { state, retryAt, failure, leader } = client;
    const inbox = { state, retryAt, failure, leader };
    const text = JSON.stringify(inbox);
    if (last.current?.client !== client || last.current.text !== text) last.current = { client, text, inbox };
    return last.current.inbox; // the same object while nothing changed
  };
  return useSyncExternalStore(subscribe, snapshot, snapshot);
}

/** What is not yet accepted, in order. Empty until storage was read. */
export function useOutbox(client: InboxClient): OutboxItem[] {
  const last = useRef<{ client: InboxClient; items: OutboxItem[] }>(undefined);
  const subscribe = useCallback(
    (changed: () => void) => {
      let [reading, wanted] = [false, true];
      const read = async (): Promise<void> => {
        [wanted, reading] = [false, true];
        const items = await client.outbox().catch(() => NONE); // `ready` tells why
        reading = false;
        last.current = { client, items };
        changed();
        if (wanted) void read();
      };
      const ask = (): void => {
        wanted = true;
        if (!reading) void read();
      };
      ask();
      const stop = listen(client, OUTBOX, ask);
      return () => {
        changed = () => {};
        stop();
      };
    },
    [client],
  );
  const snapshot = (): OutboxItem[] => (last.current?.client === client ? last.current.items : NONE);
  return useSyncExternalStore(subscribe, snapshot, () => NONE);
}

/** A handler while the component is there; always the latest one given. Entries wait for it, if it is async. */
export function useInboxEvent<E extends keyof Events>(
  client: InboxClient,
  type: E,
  handler: (event: Events[E]) => unknown,
): void {
  const latest = useRef(handler);
  useEffect(() => {
    latest.current = handler;
  });
  useEffect(() => client.on(type, (event) => latest.current(event)), [client, type]);
}

const NONE: OutboxItem[] = [];
const INBOX = ["state", "leader"] as const; // not "message": whoever listens to those takes them;
const OUTBOX = ["outbox", "storage"] as const;

function listen(client: InboxClient, types: readonly (keyof Events)[], changed: () => void): () => void {
  const offs = types.map((type) => client.on(type, changed));
  return () => offs.forEach((off) => off());
}
