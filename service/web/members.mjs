/** A group's members; how to make a group. Both ask the service at once, and show why not. */

import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.mjs";
import { show } from "./hash.mjs";
import { NAME } from "./model.mjs";
import { hueOf, initials, refusal } from "./text.mjs";

/** What a form does: {busy, wrong, act}; `act` shows why a promise was rejected, and resolves with whether it was not. */
function useAct() {
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState("");
  const act = async (work) => {
    setBusy(true);
    setWrong("");
    const refused = await work().then(() => "", (error) => `Not done: ${refusal(error)}.`);
    setBusy(false);
    setWrong(refused);
    return refused === "";
  };
  return { busy, wrong, setWrong, act };
}

export function Members({ session, row }) {
  const { groups, user } = session;
  const { members, owner } = row.group;
  const { busy, wrong, setWrong, act } = useAct();
  const [name, setName] = useState("");
  const add = async (event) => {
    event.preventDefault();
    const member = name.trim();
    if (!NAME.test(member)) return setWrong("A name has letters, digits and . _ - @ : + only.");
    if (await act(() => groups.add(row.peer, member))) setName("");
  };
  const remove = (member) => act(() => groups.remove(row.peer, member));
  return html`<section class="panel" id="members" aria-label="Members" data-testid="member-panel">
    <ul>
      ${members.map((member) => html`<li key=${member} data-testid="member" data-user=${member}>
        <span class="face hue-${hueOf(member)}" aria-hidden="true">${initials(member)}</span>
        <bdi>${member}</bdi>${member === user && html`<span class="dim"> (you)</span>`}
        ${member === owner && html`<span class="badge">owner</span>`}
        ${member === user
          ? html`<button type="button" data-testid="leave-group" disabled=${busy} onClick=${() => remove(member)}>Leave</button>`
          : owner === user && html`<button type="button" data-testid="remove-member" disabled=${busy}
              onClick=${() => remove(member)}>Remove<span class="unseen"> ${member}</span></button>`}
      </li>`)}
    </ul>
    ${owner === user && html`<form class="inline" onSubmit=${add}>
      <label class="unseen" for="add-member">User to add</label>
      <input id="add-member" data-testid="add-member" placeholder="Add…" autocomplete="off" autocapitalize="none"
        spellcheck="false" value=${name} onInput=${(event) => setName(event.target.value)} />
      <button type="submit" disabled=${busy}>Add</button>
    </form>`}
    <p class="wrong" role="alert">${wrong}</p>
  </section>`;
}

/** `onClose`: it is made, or given up. */
export function NewGroup({ session, onClose }) {
  const { busy, wrong, setWrong, act } = useAct();
  const [name, setName] = useState("");
  const [list, setList] = useState("");
  const first = useRef(null);
  useEffect(() => first.current.focus(), []);
  const make = async (event) => {
    event.preventDefault();
    const members = [...new Set(list.split(/[\s,;]+/).filter(Boolean))];
    if (name.trim() === "") return setWrong("A group has a name.");
    const bad = members.find((one) => !NAME.test(one));
    if (bad || members.length === 0) return setWrong(bad ? "Names are separated by spaces." : "A group has members.");
    const id = idOf(name);
    if (await act(() => session.groups.create(id, name.trim(), members))) {
      onClose();
      show(`#${id}`);
    }
  };
  return html`<form class="panel" onSubmit=${make} data-testid="group-form">
    <label for="group-name">Name of the group</label>
    <input id="group-name" data-testid="group-name" autocomplete="off" maxlength="256" value=${name}
      ref=${first} onInput=${(event) => setName(event.target.value)} />
    <label for="group-members">Members <span class="dim">(user names, with spaces between)</span></label>
    <input id="group-members" data-testid="group-members" autocomplete="off" autocapitalize="none" spellcheck="false"
      value=${list} onInput=${(event) => setList(event.target.value)} />
    <p class="wrong" role="alert">${wrong}</p>
    <div class="buttons">
      <button class="primary" type="submit" data-testid="make-group" disabled=${busy}>Make the group</button>
      <button type="button" onClick=${onClose}>Cancel</button>
    </div>
  </form>`;
}

/** A new id: what can be read of the name, and something that no other group has. */
function idOf(name) {
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  const rest = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const begin = name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40);
  return `${begin || "group"}-${rest}`;
}
