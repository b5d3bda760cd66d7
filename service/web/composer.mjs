/** Where one writes. Enter sends, Shift+Enter begins a line; what is unsent is kept for each conversation. */

import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.mjs";
import { mayWrite, nameOf } from "./rows.mjs";
import { visible } from "./text.mjs";

export function Composer({ session, row }) {
  const [text, setText] = useState(row.draft);
  const field = useRef(null);
  useEffect(() => {
    // On a phone its keyboard would cover what one came to read.
    if (matchMedia("(hover: hover)").matches) field.current?.focus({ preventScroll: true });
  }, []);

  if (!mayWrite(row)) return html`<p class="note" data-testid="left">You are not in this group any more.</p>`;
  const name = visible(nameOf(row));

  const write = (text) => {
    setText(text);
    session.draft(row.peer, text);
    if (text !== "") session.people.write(row.peer);
  };
  const send = (event) => {
    event.preventDefault();
    const { value } = field.current;
    if (value.trim() === "") return;
    setText("");
    session.send(row.peer, value);
    session.people.sent(row.peer);
    field.current.focus();
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  };

  return html`<form class="composer" onSubmit=${send}>
    <label class="unseen" for="composer">Message to ${name}</label>
    <textarea id="composer" rows="1" dir="auto" autocomplete="off" enterkeyhint="send" data-testid="composer"
      placeholder="Message ${name}" value=${text} ref=${field}
      onInput=${(event) => write(event.target.value)} onKeyDown=${onKeyDown}></textarea>
    <button class="primary send" type="submit" data-testid="send" disabled=${text.trim() === ""}>
      <span>Send</span>
      <svg aria-hidden="true" viewBox="0 0 24 24" width="20" height="20"><path d="M4 12 20 4l-5 16-4-7z" /></svg>
    </button>
  </form>`;
}
