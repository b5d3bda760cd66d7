import { InboxError } from "./errors.mjs";
import type { Frame, HistoryPage, HistoryQuery } from "./types.mjs";

interface Asked {
  resolve(page: HistoryPage): void;
  reject(error: InboxError): void;
}

/** Questions about the past and their answers. */
export class History {
  private asked = new Map<string, Asked>();
  private last = 0;
  private readonly prefix = Math.random().toString(36).slice(2); // answers reach all tabs

  constructor(private readonly write: (frame: Frame) => boolean) {}

  ask(query: HistoryQuery): Promise<HistoryPage> {
    return this.wait((ref) => {
      if (!this.write({ type: "history", ref, ...query })) this.answer({ type: "error", ref, code: "not_connected" });
    });
  }

  /** `ask` may be answered at once. */
  wait(ask: (ref: string) => void): Promise<HistoryPage> {
    const ref = `${this.prefix}-${++this.last}`;
    const page = new Promise<HistoryPage>((resolve, reject) => this.asked.set(ref, { resolve, reject }));
    page.catch(() => {});
    ask(ref);
    return page;
  }

  answer({ type, ref, entries, more, code, message }: Frame): void {
    const asked = this.asked.get(ref);
    this.asked.delete(ref);
    if (type === "error") asked?.reject(new InboxError(code, message));
    else asked?.resolve({ entries, more });
  }

  /** No answers will come any more. */
  lost(): void {
    for (const ref of [...this.asked.keys()]) this.answer({ type: "error", ref, code: "not_connected" });
  }
}
