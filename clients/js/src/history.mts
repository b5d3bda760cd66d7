import { InboxError } from "./errors.mjs";
import type { Frame, HistoryPage, HistoryQuery } from "./types.mjs";

interface Asked {
  resolve(page: HistoryPage): void;
  reject(error: InboxError): void;
}

type Answer = Partial<HistoryPage> & { ref: string; code?: string; message?: string };

/** Questions about the past and their answers. */
export class History {
  readonly #write: (frame: Frame) => boolean;
  #asked = new Map<string, Asked>();
  #last = 0;
  readonly #prefix = Math.random().toString(36).slice(2); // answers reach all tabs

  constructor(write: (frame: Frame) => boolean) {
    this.#write = write;
  }

  ask(query: HistoryQuery): Promise<HistoryPage> {
    return this.wait((ref) => {
      if (!this.#write({ type: "history", ref, ...query })) this.answer({ ref, code: "not_connected" });
    });
  }

  /** `ask` may be answered at once. */
  wait(ask: (ref: string) => void): Promise<HistoryPage> {
    const ref = `${this.#prefix}-${++this.#last}`;
    const page = new Promise<HistoryPage>((resolve, reject) => this.#asked.set(ref, { resolve, reject }));
    page.catch(() => {});
    ask(ref);
    return page;
  }

  answer({ ref, entries, more, code, message }: Answer): void {
    const asked = this.#asked.get(ref);
    this.#asked.delete(ref);
    if (code) asked?.reject(new InboxError(code, message));
    else asked?.resolve({ entries: entries!, more: more! });
  }

  /** No answers will come any more. */
  lost(): void {
    for (const ref of [...this.#asked.keys()]) this.answer({ ref, code: "not_connected" });
  }
}
