/** Above a conversation: with whom, whether they are there or typing, and what can be done about them. */

import { html, useState } from "./vendor/htm/standalone.mjs";
import { show } from "./hash.mjs";
import { Members } from "./members.mjs";
import { isGroup } from "./model.mjs";
import { mayWrite, nameOf } from "./rows.mjs";
import { count, hueOf, initials, presenceText, refusal, typingText, visible } from "./text.mjs";

export function Heading({ session, row }) {
  const [open, setOpen] = useState(false);
  const { peer } = row;
  const name = visible(nameOf(row));
  const group = isGroup(peer);
  return html`
    <header class="heading">
      <button type="button" class="quiet back" data-testid="back" onClick=${() => show(null)}>
        <span aria-hidden="true">←</span><span class="unseen">Back to the conversations</span>
      </button>
      <span class="face hue-${hueOf(peer)}" aria-hidden="true">${initials(name)}</span>
      <div class="whom">
        <h2><bdi>${name}</bdi></h2>
        <${Status} session=${session} row=${row} />
      </div>
      ${group && row.group && mayWrite(row) && html`
        <button type="button" class="quiet" data-testid="members" aria-expanded=${String(open)} aria-controls="members"
          onClick=${() => setOpen(!open)}>Members</button>`}
      ${!group && peer !== session.user && html`<${Block} session=${session} row=${row} />`}
    </header>
    ${group && open && row.group && mayWrite(row) && html`<${Members} session=${session} row=${row} />`}
    ${row.blocked && html`<p class="notice warning" data-testid="blocked">You block ${name}: what they send is refused.</p>`}`;
}

// One line that is always there, so that nothing moves when somebody types.
function Status({ session, row }) {
  const { people, view } = session;
  const typing = view.connection.state === "live" ? typingText(people.typing(row.peer)) : "";
  return html`<p class="status">
    <span role="status" class="typing" data-testid="typing">${typing}</span>
    ${!typing && html`<span data-testid="presence">${about(session, row)}</span>`}
  </p>`;
}

function about({ people, view }, row) {
  if (!isGroup(row.peer)) return view.connection.state === "live" ? presenceText(people.presence.get(row.peer)) : "";
  if (!mayWrite(row)) return "You are not in this group";
  const { members = [], owner } = row.group ?? {};
  return members.length > 0 ? `${count(members.length, "member", "members")}, led by ${owner}` : "";
}

function Block({ session, row }) {
  const [busy, setBusy] = useState(false);
  const change = async () => {
    setBusy(true);
    await session.people.block(row.peer, !row.blocked)
      .catch((error) => session.show({ trouble: { message: `Not ${row.blocked ? "unblocked" : "blocked"}: ${refusal(error)}` } }));
    setBusy(false);
  };
  return html`<button type="button" class="quiet" data-testid="block" aria-pressed=${String(row.blocked)}
    disabled=${busy || session.view.connection.state !== "live"} onClick=${change}>
    ${row.blocked ? "Unblock" : "Block"}
  </button>`;
}
