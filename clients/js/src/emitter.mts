import { textOf } from "./pure.mjs";
import type { Events, Handler } from "./types.mjs";

/** Listened to by who takes entries of every type. */
export const ALL = "*";

/** Listeners, and events in the order they happened, also when a handler causes the next one. */
export class Emitter {
  readonly #heard: () => void;
  #listeners = new Map<string, { handler: Handler<any> }[]>();
  #queue: [string, unknown][] = [];
  #draining = false;

  /** Called when somebody begins to listen. */
  constructor(heard: () => void = () => {}) {
    this.#heard = heard;
  }

  on(type: string, handler: Handler<any>): () => void {
    const listener = { handler };
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
    this.#heard();
    return () => {
      const left = (this.#listeners.get(type) ?? []).filter((one) => one !== listener);
      this.#listeners.set(type, left);
    };
  }

  of(type: string): Handler<any>[] {
    return (this.#listeners.get(type) ?? []).map(({ handler }) => handler);
  }

  /** Who handles entries of this type. Messages wait until somebody takes them as such. */
  takers(type: string): Handler<any>[] {
    const takers = [...this.of(type), ...this.of(ALL)];
    return takers.length || type === "message" ? takers : this.of("entry");
  }

  emit<T extends keyof Events>(type: T, event: Events[T]): void {
    this.#queue.push([type, event]);
    if (this.#draining) return;
    this.#draining = true;
    for (let next; (next = this.#queue.shift());) this.#tell(...next);
    this.#draining = false;
  }

  #tell(type: string, event: unknown): void {
    const fail = (error: unknown): void => {
      if (type === "error")
        console.error(error); // its handler failed: nobody else to tell
      else this.emit("error", { code: "handler_failed", message: textOf(error), error });
    };
    for (const handler of this.of(type)) {
      try {
        Promise.resolve(handler(event)).catch(fail);
      } catch (error) {
        fail(error);
      }
    }
  }
}
