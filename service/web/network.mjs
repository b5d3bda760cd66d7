/** The network as the client sees it: the browser's, with a switch. All tabs of a device are switched together. */

export class Network extends EventTarget {
  #off = false;
  #channel;
  #ended = new AbortController();

  /** `channel`: a BroadcastChannel of this device's tabs. */
  constructor(channel) {
    super();
    this.#channel = channel;
    const { signal } = this.#ended;
    for (const type of ["online", "offline"]) addEventListener(type, () => this.#tell(), { signal });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && this.onLine) this.dispatchEvent(new Event("visible"));
    }, { signal });
    channel?.addEventListener("message", ({ data }) => {
      if (typeof data?.off === "boolean") this.#switch(data.off);
      if (data?.asks === "off" && this.#off) channel.postMessage({ off: true });
    });
    channel?.postMessage({ asks: "off" });
  }

  /** Hears nothing any more. */
  close() {
    this.#ended.abort();
  }

  get onLine() {
    return !this.#off && navigator.onLine;
  }

  /** Whether it was switched off here. */
  get off() {
    return this.#off;
  }

  set off(off) {
    this.#switch(off);
    this.#channel?.postMessage({ off });
  }

  #switch(off) {
    if (off === this.#off) return;
    this.#off = off;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event(this.onLine ? "online" : "offline"));
    this.dispatchEvent(new Event("change"));
  }
}
