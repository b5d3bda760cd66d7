import type { Change, Kept, Mark, Meta, Saved } from "./storage.mjs";

/** What a file of changes, one JSON object a line, says about one scope after another. No I/O. */
export class Lines {
  /** Lines read or added; a compact file has two or three for each scope, and one for each item and mark. */
  count = 0;
  #scopes = new Map<string, { meta: Meta; marks: Map<number, Mark>; outbox: Map<string, Kept> }>();

  /** Answers how many bytes of it are whole lines; the rest was being written when the process died. */
  read(bytes: Buffer): number {
    const whole = bytes.lastIndexOf(10) + 1;
    const lines = bytes.subarray(0, whole).toString().split("\n");
    lines.pop();
    lines.forEach((line, at) => {
      try {
        this.#apply(JSON.parse(line));
      } catch (cause) {
        throw new Error(`line ${at + 1} of the storage file cannot be read`, { cause });
      }
    });
    return whole;
  }

  has(scope: string): boolean {
    return this.#scopes.has(scope);
  }

  saved(scope: string): Saved {
    const { meta, marks, outbox } = this.#scopes.get(scope)!;
    return structuredClone({ meta, marks: [...marks.values()], outbox: [...outbox.values()] });
  }

  add(line: string): void {
    this.#apply(JSON.parse(line));
  }

  /** The same state in as few lines as can be. */
  compact(): string {
    const lines: string[] = [];
    for (const [scope, { meta, marks, outbox }] of this.#scopes) {
      lines.push(JSON.stringify({ scope, meta }));
      for (const mark of marks.values()) lines.push(JSON.stringify({ scope, mark }));
      for (const item of outbox.values()) lines.push(JSON.stringify({ scope, put: [item] }));
    }
    this.count = lines.length;
    return lines.map((line) => line + "\n").join("");
  }

  get size(): number {
    let size = 0;
    for (const { marks, outbox } of this.#scopes.values()) size += 1 + marks.size + outbox.size;
    return size;
  }

  #apply({ scope, meta, mark, put = [], remove = [] }: Change & { scope: string }): void {
    this.count++;
    const known = this.#scopes.get(scope) ?? { meta: { device: "", attempt: 0 }, marks: new Map(), outbox: new Map() };
    this.#scopes.set(scope, known);
    if (meta) known.meta = { ...known.meta, ...meta };
    if (mark) known.marks.set(mark.slot, mark);
    for (const item of put) known.outbox.set(item.id, item);
    for (const id of remove) known.outbox.delete(id);
  }
}
