import {
  closeSync,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Lines } from "./lines.mjs";
import { lock } from "./lock.mjs";
import type { Change, Meta, Saved, Storage } from "./storage.mjs";

const [writeTo, sync] = [promisify(write), promisify(fdatasync)];
const SPARE = 20_000; // lines that say nothing any more, before the file is written anew

export interface FileStorageOptions {
  /** For tests. */
  spare?: number;
}

interface Waiting {
  line: string;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * A file in `folder` that only grows, a line for each change, synced before a write resolves; written anew from time
 * to time. Outlives SIGKILL at any instruction. One process at a time; `close` lets go of it.
 */
export class FileStorage implements Storage {
  readonly #folder: string;
  readonly #options: FileStorageOptions;
  readonly kind = "file";
  readonly durable = true;
  readonly #path: string;
  #fd?: number;
  #release = (): void => {};
  #lines = new Lines();
  #size = 0;
  #scope = "";
  #most = 0;
  #waiting: Waiting[] = [];
  #flushing?: Promise<void>;
  #broken?: Error;

  constructor(folder: string, options: FileStorageOptions = {}) {
    this.#folder = folder;
    this.#options = options;
    this.#path = join(folder, "inboxd.jsonl");
  }

  async open(scope: string, fresh: Meta): Promise<Saved> {
    if (this.#fd === undefined) this.#start();
    this.#scope = scope;
    if (!this.#lines.has(scope)) await this.write({ meta: fresh });
    await this.#flushing;
    return this.#lines.saved(scope);
  }

  write(change: Change): Promise<void> {
    if (this.#broken ?? this.#fd === undefined)
      return Promise.reject(this.#broken ?? new Error("the storage is not open"));
    const line = JSON.stringify({ scope: this.#scope, ...change }) + "\n";
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  /** Writes what is left and lets another process have the folder. */
  async close(): Promise<void> {
    while (this.#flushing) await this.#flushing; // whoever is answered may ask for more
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#lines = new Lines();
    this.#broken = undefined;
    this.#release();
  }

  #start(): void {
    mkdirSync(this.#folder, { recursive: true });
    this.#release = lock(join(this.#folder, "inboxd.lock"));
    try {
      this.#fd = openSync(this.#path, "a+", 0o600);
      this.#size = this.#lines.read(readFileSync(this.#path));
      ftruncateSync(this.#fd, this.#size); // or the next line would be joined to a torn one
      syncFolder(this.#folder);
      this.#most = this.#lines.size + (this.#options.spare ?? SPARE);
    } catch (error) {
      this.#lines = new Lines();
      if (this.#fd !== undefined) closeSync(this.#fd);
      this.#fd = undefined;
      this.#release();
      throw error;
    }
  }

  /** One sync for whatever was asked for while the last one was under way. */
  async #flush(): Promise<void> {
    while (this.#waiting.length) {
      const batch = this.#waiting.splice(0);
      try {
        await this.#append(Buffer.from(batch.map(({ line }) => line).join("")));
        for (const { line } of batch) this.#lines.add(line);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        this.#undo();
        for (const { reject } of batch) reject(error);
      }
      if (this.#lines.count > this.#most) this.#rewrite();
    }
    this.#flushing = undefined;
  }

  async #append(bytes: Buffer): Promise<void> {
    if (this.#broken) throw this.#broken;
    for (let at = 0; at < bytes.length;) at += (await writeTo(this.#fd!, bytes, at, bytes.length - at)).bytesWritten;
    await sync(this.#fd!);
    this.#size += bytes.length;
  }

  /** Nothing of a write that failed may count after a restart. */
  #undo(): void {
    try {
      ftruncateSync(this.#fd!, this.#size);
      fsyncSync(this.#fd!);
    } catch (cause) {
      this.#broken ??= new Error("the storage file cannot be written", { cause });
    }
  }

  /** The new file is whole and synced before it takes the old one's name. Not necessary, so it may fail. */
  #rewrite(): void {
    try {
      const bytes = Buffer.from(this.#lines.compact());
      const old = this.#fd!;
      this.#fd = replace(this.#path, bytes); // from here on nothing may go to the old one, whatever else fails
      this.#size = bytes.length;
      closeSync(old);
      syncFolder(this.#folder);
    } catch {
      // the old one goes on, or `append` says what is wrong
    }
    this.#most = this.#lines.size + (this.#options.spare ?? SPARE);
  }
}

function replace(path: string, bytes: Buffer): number {
  const fd = openSync(path + ".new", "a+", 0o600);
  try {
    ftruncateSync(fd, 0); // of a process that died
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
    renameSync(path + ".new", path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } catch {
    // not every system can
  } finally {
    closeSync(fd);
  }
}
