/** Small decisions without state. */

import type { Entry } from "./types.mjs";

/** RFC 9562: ordered by time, so that a sorted list of ids reads like the conversation. */
export function uuidv7(wall: number, random: () => number): string {
  const time = wall.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7xxx-yxxx-xxxxxxxxxxxx`.replace(/[xy]/g, (digit) =>
    Math.floor(digit === "x" ? random() * 16 : 8 + random() * 4).toString(16),
  );
}

/** Two devices must not mint one id. */
export const platformRandom = (): number => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;

/** Full jitter: random(0 … min(most, first · 2^n)). `n` counts from 0. */
export function backoff(n: number, first: number, most: number, random: () => number): number {
  return random() * Math.min(most, first * 2 ** Math.min(n, 60));
}

/** What makes an entry the same one when it comes again; a gap has none. */
export function identityOf(entry: Entry): string | undefined {
  if (entry.type === "gap" || typeof entry.id !== "string") return undefined;
  return `${entry.type}/${entry.from ?? entry.by ?? entry["group"] ?? ""}/${entry.id}`;
}

/** Whether a cursor comes before another of the same inbox. */
export function before(cursor: string, other: string): boolean {
  const [ms, seq] = cursor.split("-").map(Number);
  const [otherMs, otherSeq] = other.split("-").map(Number);
  return ms! < otherMs! || (ms === otherMs && seq! < otherSeq!);
}

/** The claims of a JWT, unverified: only to know when to ask for another. `exp` in seconds. */
export function claimsOf(token: string): { exp?: number; sub?: string } {
  try {
    return JSON.parse(atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"))) ?? {};
  } catch {
    return {};
  }
}

/** One text for each JSON value: the order of keys does not count. */
export const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part) =>
    part && typeof part === "object" && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort()) : part,
  );

export const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

export const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
