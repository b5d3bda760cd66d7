/** What can be done with a message that is in: reactions for everybody, edits and deletion for whoever wrote it. */

import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.mjs";
import { bodyText, isPlain } from "./text.mjs";

const EMOJI = [
  ["👍", "thumbs up"], ["❤️", "heart"], ["😂", "laughing"], ["😮", "surprised"], ["😢", "sad"], ["🙏", "thanks"],
];
const KNOWN = new Map(EMOJI);

/** Whether something can be done with a line of the log. */
export const may = (item) => item.kind === "message" && !item.erased && ["received", "accepted", "delivered"].includes(item.state);

const own = (item) => item.reactions.find((one) => one.mine)?.emoji ?? null;

/** The reactions to a message. The Tab key passes them over: the keyboard has the same in the actions. */
export function Reactions({ item, session }) {
  if (item.reactions.length === 0) return null;
  return html`<ul class="reactions" data-testid="reactions" aria-label="Reactions">
    ${item.reactions.map(({ emoji, users, mine }) => html`<li key=${emoji}>
      <button type="button" tabindex="-1" class="reaction" data-testid="reaction" data-emoji=${emoji} aria-pressed=${String(mine)}
        disabled=${!may(item)} title=${users.join(", ")} onClick=${() => session.react(item.identity, emoji, own(item))}>
        <span aria-hidden="true"><span class="emoji">${emoji}</span>${users.length > 1 && ` ${users.length}`}</span>
        <span class="unseen">${KNOWN.get(emoji) ?? emoji} by ${users.join(", ")}</span>
      </button>
    </li>`)}
  </ul>`;
}

/** `doing`: "choose", "edit" or "delete". The rest of the page hears nothing of the Escape that ends it. */
export function Actions({ item, session, doing, setDoing, onDone }) {
  const box = useRef(null);
  useEffect(() => {
    box.current.scrollIntoView({ block: "nearest" });
    box.current.querySelector("textarea, [data-first]")?.focus({ preventScroll: true });
  }, [doing]);
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onDone();
  };
  const Part = { choose: Choose, edit: Edit, delete: Delete }[doing];
  return html`<div class="actions" aria-live="off" ref=${box} onKeyDown=${onKeyDown} data-testid="actions-of-message">
    <${Part} item=${item} session=${session} setDoing=${setDoing} onDone=${onDone} />
  </div>`;
}

function Choose({ item, session, setDoing, onDone }) {
  const given = own(item);
  const react = (emoji) => {
    session.react(item.identity, emoji, given);
    onDone();
  };
  return html`
    ${EMOJI.map(([emoji, name], at) => html`<button key=${emoji} type="button" class="quiet emoji" data-testid="react"
      data-first=${at === 0 ? "" : null} data-emoji=${emoji} aria-pressed=${String(emoji === given)} aria-label=${name} title=${name}
      onClick=${() => react(emoji)}>${emoji}</button>`)}
    ${item.mine && html`<span class="own">
      ${isPlain(item.body) && html`<button type="button" class="quiet" data-testid="edit" onClick=${() => setDoing("edit")}>Edit</button>`}
      <button type="button" class="quiet" data-testid="delete" onClick=${() => setDoing("delete")}>Delete</button>
    </span>`}`;
}

function Edit({ item, session, onDone }) {
  const [text, setText] = useState(() => bodyText(item.body));
  const save = (event) => {
    event.preventDefault();
    if (text.trim() === "") return;
    if (text !== item.body.text) session.edit(item.identity, text);
    onDone();
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save(event);
  };
  return html`<form class="edit" onSubmit=${save}>
    <label class="unseen" for="edit-text">New text</label>
    <textarea id="edit-text" dir="auto" rows="1" autocomplete="off" data-testid="edit-text" value=${text}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${onKeyDown}></textarea>
    <button class="primary" type="submit" data-testid="save" disabled=${text.trim() === ""}>Save</button>
    <button type="button" data-testid="cancel" onClick=${onDone}>Cancel</button>
  </form>`;
}

function Delete({ item, session, onDone }) {
  const remove = () => {
    session.remove(item.identity);
    onDone();
  };
  return html`
    <p>Delete it for everybody?</p>
    <button type="button" data-testid="confirm-delete" onClick=${remove}>Delete</button>
    <button type="button" data-first="" data-testid="cancel" onClick=${onDone}>Keep</button>`;
}
