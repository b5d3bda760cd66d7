/** The open conversation is part of the address: a reload stays there, and a phone's back button leaves it. */

import { NAME } from "./model.mjs";

/** The conversation that the address names: `#bob`. */
export function peerOf(hash = location.hash) {
  try {
    const name = decodeURIComponent(hash.slice(1));
    return NAME.test(name.replace(/^#/, "")) ? name : null;
  } catch {
    return null;
  }
}

export function show(peer) {
  location.hash = peer == null ? "" : encodeURIComponent(peer);
}
