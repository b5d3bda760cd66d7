// The hooks, without JSX so that no more than TypeScript is needed to check it.
import { InboxClient, type Message } from "inboxd-client";
import { useInbox, useInboxEvent, useOutbox } from "inboxd-client/react";
import { createElement as h, type ReactElement, useState } from "react";

interface Props {
  client: InboxClient;
  /** The application's own store: keyed by sender and id, so that a message which comes again changes nothing. */
  store(message: Message): Promise<void>;
}

export function Chat({ client, store }: Props): ReactElement {
  const { state, retryAt } = useInbox(client);
  const waiting = useOutbox(client);
  const [last, setLast] = useState<Message>();
  useInboxEvent(client, "message", async (message) => {
    await store(message); // first, since the ack follows
    setLast(message);
  });
  return h(
    "section",
    null,
    h("p", { role: "status" }, retryAt ? `${state} until ${new Date(retryAt).toLocaleTimeString()}` : state),
    h("p", null, last ? `${last.from}: ${JSON.stringify(last.body)}` : "nothing yet"),
    h("ul", null, waiting.map(({ id, state: stage }) => h("li", { key: id }, stage))),
    h("button", { onClick: () => client.send("bob", { text: "hi" }) }, "Send"),
  );
}
